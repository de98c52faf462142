package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the charts.

// figure is a chart with its title and note.
type figure struct {
	Title string
	Note  string
	SVG   template.HTML // from package chart, which escapes all text
}

// Size of a chart in points. At half the page's width it is a little enlarged, and on a
// phone it is still readable.
const (
	figureWidth  = 460
	figureHeight = 250
)

// swatch returns the number of the color, in the charts, of the run with that index.
func swatch(i int) int { return i%chart.Colors + 1 }

// plan is a chart to draw.
type plan struct {
	note   string
	config chart.Config
	series []chart.Series
}

func drawAll(plans []plan) ([]figure, error) {
	figures := make([]figure, len(plans))
	for i, p := range plans {
		p.config.Width, p.config.Height, p.config.HideTitle = figureWidth, figureHeight, true
		svg, err := chart.Lines(p.config, p.series...)
		if err != nil {
			return nil, err
		}
		figures[i] = figure{Title: p.config.Title, Note: p.note, SVG: template.HTML(chart.Inline(svg))}
	}
	return figures, nil
}

// figuresOf draws the charts of one run.
func figuresOf(r *load.Result) ([]figure, error) {
	var plans []plan
	if r.Sweep != nil {
		plans = append(plans, sweepRates(r.Sweep), sweepLatencies([]*load.Sweep{r.Sweep}, chart.Series{Name: "p99", Points: true}))
	}
	spans := unmeasured(r)
	rate := timePlan("Handshakes per second", "", spans...)
	rate.note = unmeasuredNote(r, spans)
	rate.series = []chart.Series{overTime("", r.Series, handshakeRate)}
	if r.Errors > 0 || slices.ContainsFunc(r.Series, func(p load.Point) bool { return p.Errors > 0 }) {
		rate.series[0].Name = "succeeded"
		rate.series = append(rate.series, overTime("failed", r.Series, errorRate))
	}
	latencies := timePlan("Latency", "logarithmic", spans...)
	latencies.config.LogY, latencies.config.YFormat = true, axisMicros
	latencies.series = []chart.Series{
		overTime("p50", r.Series, func(p load.Point) float64 { return float64(p.P50) }),
		overTime("p99", r.Series, pointP99),
		overTime("max", r.Series, func(p load.Point) float64 { return float64(p.Max) }),
	}
	inFlight := timePlan("Connections at a time", "maximum in each interval", spans...)
	inFlight.series = []chart.Series{inFlightOver("", r.Series)}
	plans = append(plans, rate, latencies, distributionPlan([]Run{{"", r}}), inFlight)
	return drawAll(plans)
}

// timePlan returns a chart over time, with the spans shaded.
func timePlan(title, yLabel string, spans ...chart.Span) plan {
	return plan{config: chart.Config{Title: title, XLabel: "seconds since the measured part began", YLabel: yLabel, Spans: spans}}
}

// outside reports whether an interval lies wholly before or wholly after the measured
// part of its run. An interval that overlaps the measured part is neither.
func outside(r *load.Result, p load.Point) (before, after bool) {
	const slack = 1e-6 // for rounding errors in sums of fractions
	return p.At+p.Length <= slack, p.At >= r.Duration-slack
}

// unmeasured returns the parts of a run before and after the measured part.
func unmeasured(r *load.Result) []chart.Span {
	first, last := chart.Span{Label: "warm-up"}, chart.Span{From: r.Duration, To: r.Duration, Label: "ending"}
	switch {
	case r.Sweep != nil:
		first.Label, last.Label = "other steps", "other steps"
	case r.Settings.Flags["ramp"] != "":
		first.Label = "ramp, warm-up"
	}
	for _, p := range r.Series {
		if before, after := outside(r, p); before {
			first.From = min(first.From, p.At)
		} else if after {
			last.To = max(last.To, p.At+p.Length)
		}
	}
	return slices.DeleteFunc([]chart.Span{first, last}, func(s chart.Span) bool { return !(s.From < s.To) })
}

// unmeasuredNote says what the shaded parts are and where they count.
func unmeasuredNote(r *load.Result, spans []chart.Span) string {
	if len(spans) == 0 {
		return ""
	}
	if r.Sweep != nil {
		return "The unshaded part is the best step. The figures above are from this step. The table of steps shows the others."
	}
	var notes []string
	for _, s := range spans {
		if s.To > 0 {
			notes = append(notes, "In the shaded part at the end, open connections finish. It does not count in the rate.")
		} else {
			notes = append(notes, "The shaded part ("+s.Label+") counts only in the totals.")
		}
	}
	return strings.Join(notes, " ")
}

// measuredPoints returns the intervals of a run's measured part.
func measuredPoints(r *load.Result) []load.Point {
	return slices.DeleteFunc(slices.Clone(r.Series), func(p load.Point) bool {
		before, after := outside(r, p)
		return before || after
	})
}

// overTime returns a line with a value for each interval.
func overTime(name string, points []load.Point, of func(load.Point) float64) chart.Series {
	s := chart.Series{Name: name, Steps: true}
	end := math.NaN()
	for _, p := range points {
		if p.At > end+1e-6 { // there is a gap between the intervals
			s.X, s.Y = append(s.X, end), append(s.Y, math.NaN())
		}
		s.X, s.Y = append(s.X, p.At), append(s.Y, of(p))
		end = p.At + p.Length
	}
	if len(points) > 0 { // the last value holds until its interval's end
		s.X, s.Y = append(s.X, end), append(s.Y, math.NaN())
	}
	return s
}

// inFlightOver returns a line with the maximum of connections in each interval.
func inFlightOver(name string, points []load.Point) chart.Series {
	s := chart.Series{Name: name}
	for _, p := range points {
		s.X, s.Y = append(s.X, p.At+p.Length), append(s.Y, float64(p.InFlight))
	}
	return s
}

// The rate of an interval without length is NaN or infinite. The line has a gap there.

func handshakeRate(p load.Point) float64 { return float64(p.Handshakes) / p.Length }
func errorRate(p load.Point) float64     { return float64(p.Errors) / p.Length }

// pointP99 is 0 if no handshake ended in the interval. A logarithmic axis shows that as
// a gap.
func pointP99(p load.Point) float64 { return float64(p.P99) }

// distributionPlan draws latency over percentiles, as HdrHistogram's plots do. The
// distances from 90 % to 99 %, from 99 % to 99.9 % and so on are equal.
func distributionPlan(runs []Run) plan {
	p := plan{config: chart.Config{
		Title: "Latency distribution", XLabel: "share of handshakes that took at most this long", YLabel: "logarithmic",
		LogY: true, YFormat: axisMicros, XTicks: []chart.Tick{{Value: 0, Label: "0"}, {Value: nines(50), Label: "50 %"}},
	}}
	most := 1.0
	for _, run := range runs {
		s := chart.Series{Name: run.Name}
		// The longest of n latencies is drawn at 1-1/n. Its real place, 100 %, is
		// infinitely far to the right.
		last := math.Log10(float64(max(run.Result.Latency.Count, 10)))
		for _, q := range run.Result.Distribution {
			x := min(nines(q.Percentile), last)
			s.X, s.Y = append(s.X, x), append(s.Y, float64(q.Latency))
			most = max(most, x)
		}
		p.series = append(p.series, s)
	}
	for n := 1; n <= int(most+1e-9); n++ {
		decimals := max(0, n-2)
		p.config.XTicks = append(p.config.XTicks, chart.Tick{Value: float64(n), Label: strconv.FormatFloat(100-math.Pow10(2-n), 'f', decimals, 64) + " %"})
	}
	return p
}

// nines returns how many nines a percentile has: 1 for 90 %, 2 for 99 %, 0.3 for 50 %,
// and infinity for 100 %.
func nines(percentile float64) float64 { return max(0, -math.Log10(1-percentile/100)) }

// byRate returns a sweep's steps in order of their rates. They were run in another
// order.
func byRate(s *load.Sweep) []load.Step {
	return slices.SortedStableFunc(slices.Values(s.Steps), func(a, b load.Step) int { return cmp.Compare(a.Rate, b.Rate) })
}

// sweepRates draws the rate achieved over the rate asked for.
func sweepRates(s *load.Sweep) plan {
	p := sweepPlan("Rate achieved", "handshakes per second", []*load.Sweep{s})
	achieved, asked := chart.Series{Name: "achieved", Points: true}, chart.Series{Name: "asked for", Dashed: true}
	for _, st := range byRate(s) {
		achieved.X, achieved.Y = append(achieved.X, st.Rate), append(achieved.Y, st.HandshakesPer)
		asked.X, asked.Y = append(asked.X, st.Rate), append(asked.Y, st.Rate)
	}
	p.series = []chart.Series{achieved, asked}
	return p
}

// sweepLatencies draws the 99th percentile over the rate asked for, with a series for
// each sweep. A run that was no sweep has a nil one.
func sweepLatencies(sweeps []*load.Sweep, series ...chart.Series) plan {
	p := sweepPlan("Latency p99", "logarithmic", sweeps)
	p.config.LogY, p.config.YFormat = true, axisMicros
	for i, s := range sweeps {
		if s != nil {
			for _, st := range byRate(s) {
				series[i].X, series[i].Y = append(series[i].X, st.Rate), append(series[i].Y, float64(st.Latency.P99))
			}
		}
	}
	p.series = series
	return p
}

// sweepPlan returns a chart over the rate asked for. If there is only one sweep, the
// chart marks its knee.
func sweepPlan(title, yLabel string, sweeps []*load.Sweep) plan {
	p := plan{config: chart.Config{Title: title, XLabel: "rate asked for, handshakes per second", YLabel: yLabel}}
	if s := sweeps[0]; len(sweeps) == 1 && s.Knee > 0 {
		p.config.Marks = []chart.Mark{{X: s.Knee, Label: fmt.Sprintf("knee, %s /s", measured(s.Knee))}}
	}
	return p
}
