package report

import (
	"math"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the charts over time.

// timePlans returns the charts of one run over time. They show all of the run.
func timePlans(id string, r *load.Result) []plan {
	points, begin := timeline(r)
	spans := unmeasured(r)
	for i := range spans {
		spans[i].From, spans[i].To = spans[i].From-begin, spans[i].To-begin
	}
	from := func(name string, column int) source {
		return source{Name: name, Table: id + idTime, Column: column}
	}
	label := sinceMeasuring
	if r.Sweep != nil {
		label = "seconds since the sweep began"
	}

	rate := timePlan("Handshakes per second", "", label, spans...)
	rate.note = unmeasuredNote(r, spans)
	if failed(r) {
		rate.add(overTime("succeeded", points, handshakeRate, 0), from("succeeded", columnRate))
		rate.add(overTime("failed", points, errorRate, 0), from("failed", columnFailed))
	} else {
		rate.add(overTime("", points, handshakeRate, 0), from("succeeded", columnRate))
	}

	latencies := timePlan("Latency", "logarithmic", label, spans...)
	latencies.config.LogY, latencies.config.YFormat = true, axisMicros
	latencies.add(markWeak(overTime("p50", points, func(p load.Point) float64 { return float64(p.P50) }, 50)), from("p50", columnP50))
	latencies.add(markWeak(overTime("p99", points, pointP99, 99)), from("p99", columnP99))
	latencies.add(overTime("max", points, func(p load.Point) float64 { return float64(p.Max) }, 0), from("max", columnMax))

	inFlight := timePlan("Connections at a time", "maximum in each interval", label, spans...)
	inFlight.add(overTime("", points, pointInFlight, 0), from("connections", columnInFlight))
	plans := []plan{rate, latencies, inFlight}
	shareTime(plans, points)
	return plans
}

// failed reports whether something failed, in the measured part or outside it.
func failed(r *load.Result) bool {
	return r.Errors > 0 || slices.ContainsFunc(r.Series, func(p load.Point) bool { return p.Errors > 0 })
}

// shareTime gives charts the same time axis, even if some have no values at an end. The
// axis includes all of these intervals.
func shareTime(plans []plan, points []load.Point) {
	for _, p := range points {
		for i := range plans {
			c := &plans[i].config
			c.XInclude = append(c.XInclude, p.At, p.At+p.Length)
		}
	}
}

// timeline returns the intervals of a run with the times at which they are drawn, and
// when the time 0 of the drawing was. A sweep is drawn from its beginning on. Other runs
// have their 0 where the measured part began.
func timeline(r *load.Result) (points []load.Point, begin float64) {
	if r.Sweep == nil || len(r.Series) == 0 {
		return r.Series, 0
	}
	points, begin = slices.Clone(r.Series), r.Series[0].At
	for i := range points {
		points[i].At -= begin
	}
	return points, begin
}

const sinceMeasuring = "seconds since the measured part began"

// timePlan returns a chart over time, with the spans shaded.
func timePlan(title, yLabel, xLabel string, spans ...chart.Span) plan {
	return plan{config: chart.Config{Title: title, XLabel: xLabel, YLabel: yLabel, Spans: spans}}
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

// overTime returns a line with a value for each interval. If the values are percentiles,
// it says which of them are weak. Others have a percentile of 0.
func overTime(name string, points []load.Point, of func(load.Point) float64, percentile float64) chart.Series {
	s := chart.Series{Name: name, Steps: true}
	end := math.NaN()
	add := func(x, y float64, weak bool) {
		s.X, s.Y = append(s.X, x), append(s.Y, y)
		if percentile > 0 {
			s.Weak = append(s.Weak, weak)
		}
	}
	for _, p := range points {
		if p.At > end+1e-6 { // there is a gap between the intervals
			add(end, math.NaN(), false)
		}
		add(p.At, of(p), p.Handshakes > 0 && weak(p.Handshakes, percentile))
		end = p.At + p.Length
	}
	if len(points) > 0 { // the last value holds until its interval's end
		add(end, math.NaN(), false)
	}
	return s
}

// The rate of an interval without length is NaN or infinite. The line has a gap there.

func handshakeRate(p load.Point) float64 { return float64(p.Handshakes) / p.Length }
func errorRate(p load.Point) float64     { return float64(p.Errors) / p.Length }
func pointInFlight(p load.Point) float64 { return float64(p.InFlight) }

// pointP99 is 0 if no handshake ended in the interval. A logarithmic axis shows that as
// a gap.
func pointP99(p load.Point) float64 { return float64(p.P99) }
