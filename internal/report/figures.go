package report

import (
	"encoding/json"
	"html/template"
	"slices"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// This file draws the charts, and says which charts a run has.

// figure is a chart with its title and note.
type figure struct {
	Title  string
	Note   string
	Weak   bool   // it draws weak percentiles
	Steps  bool   // a value holds until the next one
	Series string // the sources of its lines in JSON, for hover.js

	// The chart for a wide and for a narrow place, from package chart, which escapes
	// all text.
	Wide, Narrow template.HTML
}

// Sizes of a chart in points. The page shows the one whose type is about as large as it
// was drawn. On a phone that is the narrow one, which still fits in details.
const (
	wideWidth, wideHeight     = 460, 250
	narrowWidth, narrowHeight = 320, 230
)

// swatch returns the number of the color, in the charts, of the run with that index.
func swatch(i int) int { return i%chart.Colors + 1 }

// plan is a chart to draw.
type plan struct {
	note    string
	config  chart.Config
	series  []chart.Series
	sources []source // of the series; fewer if some cannot be pointed at
}

// source is the column of a table that has the values of a line. The page's script shows
// them where the reader points.
type source struct {
	Name   string  `json:"name"`
	Swatch int     `json:"swatch"` // 0: the reference
	Table  string  `json:"table"`  // its id
	Column int     `json:"column"` // 0 is the row's heading
	Offset float64 `json:"offset"` // of the table's x from the chart's
}

// add adds a line and the source of its values.
func (p *plan) add(s chart.Series, from source) {
	from.Swatch = swatch(len(p.series))
	if s.Dashed {
		from.Swatch = 0
	}
	p.series, p.sources = append(p.series, s), append(p.sources, from)
}

// markWeak puts the mark before the name of a line that is weak wherever it has a
// value.
func markWeak(s chart.Series) chart.Series {
	for i, y := range s.Y {
		if y > 0 && !s.Weak[i] {
			return s
		}
	}
	s.Name = weakMark + s.Name
	return s
}

// drawsWeak reports whether a value of the chart is weak.
func (p *plan) drawsWeak() bool {
	return slices.ContainsFunc(p.series, func(s chart.Series) bool { return slices.Contains(s.Weak, true) })
}

func drawAll(plans []plan) ([]figure, error) {
	figures := make([]figure, len(plans))
	for i, p := range plans {
		f := figure{Title: p.config.Title, Note: p.note, Weak: p.drawsWeak()}
		p.config.HideTitle = true
		for _, size := range []struct {
			width, height float64
			to            *template.HTML
		}{{wideWidth, wideHeight, &f.Wide}, {narrowWidth, narrowHeight, &f.Narrow}} {
			p.config.Width, p.config.Height = size.width, size.height
			svg, err := chart.Lines(p.config, p.series...)
			if err != nil {
				return nil, err
			}
			*size.to = template.HTML(chart.Inline(svg))
		}
		if len(p.sources) > 0 {
			sources, err := json.Marshal(p.sources)
			if err != nil {
				return nil, err
			}
			f.Series = string(sources)
		}
		f.Steps = len(p.series) > 0 && p.series[0].Steps
		figures[i] = f
	}
	return figures, nil
}

// plansOf returns the charts of the run with that id.
func plansOf(id string, r *load.Result) []plan {
	var plans []plan
	if r.Sweep != nil {
		latencies := sweepLatencies(r.Sweep)
		latencies.add(markWeak(sweepP99("p99", r.Sweep)), source{Name: "p99", Table: id + idSweep, Column: columnSweepP99})
		plans = append(plans, sweepRates(id, r.Sweep), latencies)
	}
	plans = append(plans, timePlans(id, r)...)
	// The connections come last, after the distribution.
	return slices.Insert(plans, len(plans)-1, distributionPlan([]Run{{"", r}}, []string{id}))
}
