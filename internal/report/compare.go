package report

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// This file shows several runs side by side, each compared with the first.

type compareView struct {
	Warnings []runWarning
	Figures  table
	Charts   []figure
	Differ   table
	Same     table
}

// hasWeak reports whether the comparison shows a weak percentile.
func (v *compareView) hasWeak() bool {
	return v.Figures.hasWeak() || slices.ContainsFunc(v.Charts, func(f figure) bool { return f.Weak })
}

// runWarning is a warning of the named run.
type runWarning struct{ Name, Text string }

func compare(runs []Run) (*compareView, error) {
	v := &compareView{Figures: comparisonTable(runs)}
	for _, r := range runs {
		if r.Result.Stopped != "" {
			v.Warnings = append(v.Warnings, runWarning{r.Name, "ended early: " + r.Result.Stopped})
		}
		for _, w := range r.Result.Warnings {
			v.Warnings = append(v.Warnings, runWarning{r.Name, w})
		}
	}
	v.Differ, v.Same = settingsTables(runs)
	var err error
	v.Charts, err = drawAll(overlays(runs))
	return v, err
}

// better says which of two values of a metric is better: the greater, the smaller, or
// neither.
type better int

const (
	neither better = iota
	more
	less
)

// metric is a row of the comparison.
type metric struct {
	name   string
	better better
	step   float64 // unit of measurement: a difference of one unit counts as none
	of     func(*load.Result) reading
}

// reading is the value of a metric in one run.
type reading struct {
	value float64 // NaN if there is none
	text  string  // the value as text
	class string  // of its cell
	plain bool    // never call this value better or worse
}

func unknown(text string) reading { return reading{value: math.NaN(), text: text} }

func latencyMetric(name string, percentile float64, of func(*load.Result) (load.Percentiles, int64)) metric {
	return metric{name, less, 1, func(r *load.Result) reading {
		p, us := of(r)
		if p.Count == 0 {
			return unknown(none)
		}
		q, class := percentileOf(p, percentile, us)
		// The best steps of two sweeps have different rates, so their latencies
		// cannot be compared.
		return reading{float64(us), q.String(), class, class == classWeak || r.Sweep != nil}
	}}
}

// openLoop reports whether a run was an open loop with a fixed rate, not a sweep.
func openLoop(r *load.Result) bool { return r.Sweep == nil && r.Settings.Flags["rate"] != "" }

var metrics = []metric{
	{"Knee of the sweep", more, 0, func(r *load.Result) reading {
		switch {
		case r.Sweep == nil || r.Sweep.Knee == 0:
			return unknown(none)
		case r.Sweep.Limit == "": // the real knee may be much higher
			return reading{value: r.Sweep.Knee, text: "≥\u00a0" + perSecond(r.Sweep.Knee), plain: true}
		}
		return reading{value: r.Sweep.Knee, text: perSecond(r.Sweep.Knee)}
	}},
	{"Handshakes per second", more, 0, func(r *load.Result) reading {
		return reading{value: r.HandshakesPer, text: perSecond(r.HandshakesPer), plain: openLoop(r) || r.Sweep != nil}
	}},
	latencyMetric("Latency p50", 50, func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P50 }),
	latencyMetric("Latency p90", 90, func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P90 }),
	latencyMetric("Latency p99", 99, func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P99 }),
	latencyMetric("Latency p99.9", 99.9, func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P999 }),
	// A single handshake decides it, so it is neither better nor worse.
	{"Latency max", neither, 1, func(r *load.Result) reading {
		if r.Latency.Count == 0 {
			return unknown(none)
		}
		return reading{value: float64(r.Latency.Max), text: latency(r.Latency, r.Latency.Max).String()}
	}},
	latencyMetric("TCP connect p50", 50, func(r *load.Result) (load.Percentiles, int64) { return r.Phases.Connect, r.Phases.Connect.P50 }),
	latencyMetric("TLS handshake p50", 50, func(r *load.Result) (load.Percentiles, int64) { return r.Phases.TLS, r.Phases.TLS.P50 }),
	{"Handshakes", neither, 0, func(r *load.Result) reading { return unknown(count(r.Handshakes)) }},
	{"Errors", neither, 0, func(r *load.Result) reading {
		if r.Errors == 0 {
			return unknown(count(0))
		}
		errors := unknown(count(r.Errors) + " (" + percent(float64(r.Errors), float64(r.Errors+r.Handshakes)) + ")")
		errors.class = "bad"
		return errors
	}},
	{"Client CPU per handshake", neither, 0, func(r *load.Result) reading {
		if r.Handshakes == 0 {
			return unknown(none)
		}
		return reading{value: r.Client.CPUPerHandshake, text: micros(r.Client.CPUPerHandshake).String()}
	}},
	{"Client busy", neither, 0, func(r *load.Result) reading {
		busy := unknown(percent(r.Client.Busy, 1))
		if r.Client.Busy >= load.BusyLimit {
			busy.class = "bad"
		}
		return busy
	}},
}

func perSecond(rate float64) string { return measured(rate) + "\u00a0/s" }

// runHeads returns the head of a table with a column for each run.
func runHeads(first string, runs []Run) []cell {
	head := []cell{{Text: first}}
	for i, r := range runs {
		head = append(head, cell{Text: r.Name, Num: true, Swatch: swatch(i), Link: runID(i)})
	}
	return head
}

func comparisonTable(runs []Run) table {
	t := table{Title: "Compared with " + runs[0].Name, Head: runHeads("", runs)}
	for _, m := range metrics {
		base := m.of(runs[0].Result)
		row := []cell{text(m.name)}
		known := false
		for i, r := range runs {
			v := m.of(r.Result)
			c := cell{Text: v.text, Class: v.class, Num: true}
			known = known || v.text != none
			if i > 0 {
				m.compare(&c, v, base)
			}
			row = append(row, c)
		}
		if known {
			t.add(row...)
		}
	}
	t.Note = comparisonNote(runs)
	return t
}

// comparisonNote explains why some values are called neither better nor worse.
func comparisonNote(runs []Run) string {
	var notes []string
	if slices.ContainsFunc(runs, func(r Run) bool { return openLoop(r.Result) }) {
		notes = append(notes, "The rate of an open loop was chosen, so it is neither better nor worse.")
	}
	if slices.ContainsFunc(runs, func(r Run) bool { return r.Result.Sweep != nil }) {
		notes = append(notes, "A sweep is judged by its knee. Its other figures are from its best step, at the rate of that step.")
	}
	return strings.Join(notes, " ")
}

// overlays returns the charts with a line for each run. Charts over time show only the
// measured parts. The other parts differ in length from run to run, and the other steps
// of a sweep have no counterpart.
func overlays(runs []Run) []plan {
	swept := false
	rate := timePlan("Handshakes per second", "", sinceMeasuring)
	inFlight := timePlan("Connections at a time", "maximum in each interval", sinceMeasuring)
	p99 := timePlan("Latency p99", "logarithmic", sinceMeasuring)
	p99.config.LogY, p99.config.YFormat = true, axisMicros
	steps := sweepLatencies(nil)
	steps.config.Title = "Latency p99 of the sweeps' steps"
	ids := make([]string, len(runs))
	var measured []load.Point
	for i, r := range runs {
		ids[i] = runID(i)
		points := measuredPoints(r.Result)
		measured = append(measured, points...)
		_, begin := timeline(r.Result)
		from := func(column int) source {
			return source{Name: r.Name, Table: ids[i] + idTime, Column: column, Offset: 0 - begin} // not -0
		}
		rate.add(overTime(r.Name, points, handshakeRate, 0), from(columnRate))
		p99.add(overTime(r.Name, points, pointP99, 99), from(columnP99))
		inFlight.add(overTime(r.Name, points, pointInFlight, 0), from(columnInFlight))
		steps.add(sweepP99(r.Name, r.Result.Sweep), source{Name: r.Name, Table: ids[i] + idSweep, Column: columnSweepP99})
		swept = swept || r.Result.Sweep != nil
	}
	rate.note = "Only the measured parts are shown."
	if swept {
		rate.note = "Only the measured parts are shown. For a sweep, that is its best step."
	}
	overTime := []plan{rate, p99, inFlight}
	shareTime(overTime, measured)
	plans := slices.Insert(overTime, 2, distributionPlan(runs, ids))
	if swept {
		plans = append(plans, steps)
	}
	return plans
}

// settingsTables returns two tables: what differs between the runs, and what is the
// same.
func settingsTables(runs []Run) (differ, same table) {
	differ = table{Title: "What differs", Head: runHeads("", runs)}
	same = table{Title: "What is the same", Head: heads("", "")}
	for i := range differ.Head {
		differ.Head[i].Num = false // the columns are text
	}
	row := func(name string, of func(*load.Result) string) {
		cells, alike := []cell{text(name)}, true
		for _, r := range runs {
			cells = append(cells, text(of(r.Result)))
			alike = alike && of(r.Result) == of(runs[0].Result)
		}
		if !alike {
			differ.add(cells...)
		} else if of(runs[0].Result) != "" {
			same.add(cells[:2]...)
		}
	}
	row("Targets", func(r *load.Result) string {
		var names []string
		for _, t := range r.Targets[:min(len(r.Targets), 10)] {
			names = append(names, t.Target)
		}
		return strings.Join(names, ", ")
	})
	row("Most handshakes", func(r *load.Result) string { return strings.Join(mostOf(r), ", ") })
	row("Measured for", func(r *load.Result) string { return micros(r.Duration * 1e6).String() })
	flags := make(map[string]bool)
	for _, r := range runs {
		for name := range r.Result.Settings.Flags {
			flags[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		row(name, func(r *load.Result) string { return r.Settings.Flags[name] })
	}
	row("Server's machine", server)
	for i, kv := range environment(runs[0].Result) {
		row(kv[0], func(r *load.Result) string { return environment(r)[i][1] })
	}
	differ.cut()
	same.cut()
	return differ, same
}
