//go:build linux

package report

import (
	"math"
	"strings"

	"github.com/jobloop/jobloop/internal/chart"
)

// plot is a picture of a report. It is drawn only if it is kept.
type plot struct {
	name string // of its file, without .svg
	alt  string // what it shows, for readers who do not see it
	draw func() ([]byte, error)
}

// AddPlot adds a picture. The name is that of a file. It starts with the
// scenario's, so that the pictures of a whole run can lie beside each other.
func (r *Report) AddPlot(name, alt string, draw func() ([]byte, error)) {
	r.plots = append(r.plots, plot{name, alt, draw})
}

// Bar is a bar for each category, with a value for each round. A figure that was
// not measured is missing in the picture.
type Bar struct {
	Series string
	Values [][]float64 // of each category
}

// NewBar has the figures of servers, in the order of their names.
func NewBar[R any](series string, names []string, results map[string][]R, of func(R) float64) Bar {
	b := Bar{Series: series}
	for _, name := range names {
		b.Values = append(b.Values, Figures(results[name], of))
	}
	return b
}

// AddBars adds a chart of the medians, with the least and the greatest values as
// whiskers.
func (r *Report) AddBars(name, title, unit string, categories []string, logarithmic bool, bars ...Bar) {
	r.AddPlot(name, title, func() ([]byte, error) {
		series := make([]chart.BarSeries, len(bars))
		for i, b := range bars {
			s := &series[i]
			s.Name = b.Series
			for _, values := range b.Values {
				v := measured(values)
				if len(v) == 0 {
					v = []float64{math.NaN()}
				}
				s.Values, s.Low, s.High = append(s.Values, Median(v)), append(s.Low, v[0]), append(s.High, v[len(v)-1])
			}
		}
		c := chart.Config{Title: title, YLabel: unit, LogY: logarithmic, YFormat: shortFigure}
		c.Width = max(chart.DefaultWidth, perCategory*float64(len(categories))) // or names are cut
		return chart.Bars(c, categories, series...)
	})
}

// perCategory is the width of a server's name.
const perCategory = 120

// shortFigure is Figure without zeros at its end, for axes.
func shortFigure(v float64) string {
	s := Figure(v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
