package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// In this file: several runs side by side, each compared with the first.

type compareView struct {
	Warnings []runWarning
	Figures  table
	Charts   []figure
	Differ   table
	Same     table
}

// runWarning is a warning, and whose it is.
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

// better says which of two values of a metric is preferred.
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
	// of returns the value, NaN if the run has none, and how it is written.
	of func(*load.Result) (float64, string)
}

func latencyMetric(name string, of func(*load.Result) (load.Percentiles, int64)) metric {
	return metric{name, less, func(r *load.Result) (float64, string) {
		p, us := of(r)
		if p.Count == 0 {
			return math.NaN(), none
		}
		return float64(us), micros(float64(us)).String()
	}}
}

var metrics = []metric{
	{"Knee of the sweep", more, func(r *load.Result) (float64, string) {
		if r.Sweep == nil || r.Sweep.Knee == 0 {
			return math.NaN(), none
		}
		return r.Sweep.Knee, measured(r.Sweep.Knee) + "\u00a0/s"
	}},
	{"Handshakes per second", more, func(r *load.Result) (float64, string) {
		return r.HandshakesPer, measured(r.HandshakesPer) + "\u00a0/s"
	}},
	latencyMetric("Latency p50", func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P50 }),
	latencyMetric("Latency p90", func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P90 }),
	latencyMetric("Latency p99", func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P99 }),
	latencyMetric("Latency p99.9", func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.P999 }),
	latencyMetric("Latency max", func(r *load.Result) (load.Percentiles, int64) { return r.Latency, r.Latency.Max }),
	latencyMetric("TCP connect p50", func(r *load.Result) (load.Percentiles, int64) { return r.Phases.Connect, r.Phases.Connect.P50 }),
	latencyMetric("TLS handshake p50", func(r *load.Result) (load.Percentiles, int64) { return r.Phases.TLS, r.Phases.TLS.P50 }),
	{"Handshakes", neither, func(r *load.Result) (float64, string) { return math.NaN(), count(r.Handshakes) }},
	{"Errors", neither, func(r *load.Result) (float64, string) {
		s := count(r.Errors)
		if r.Errors > 0 {
			s += " (" + percent(float64(r.Errors), float64(r.Errors+r.Handshakes)) + ")"
		}
		return math.NaN(), s
	}},
	{"Client CPU per handshake", neither, func(r *load.Result) (float64, string) {
		if r.Handshakes == 0 {
			return math.NaN(), none
		}
		return r.Client.CPUPerHandshake, micros(r.Client.CPUPerHandshake).String()
	}},
	{"Client busy", neither, func(r *load.Result) (float64, string) { return math.NaN(), percent(r.Client.Busy, 1) }},
}

// runHeads are the heads of a table with a column for each run.
func runHeads(first string, runs []Run) []cell {
	head := []cell{{Text: first}}
	for i, r := range runs {
		head = append(head, cell{Text: r.Name, Num: true, Swatch: swatch(i), Link: fmt.Sprintf("run-%d", i+1)})
	}
	return head
}

func comparisonTable(runs []Run) table {
	t := table{Title: "Compared with " + runs[0].Name, Head: runHeads("", runs)}
	for _, m := range metrics {
		base, _ := m.of(runs[0].Result)
		row := []cell{text(m.name)}
		known := false
		for i, r := range runs {
			v, written := m.of(r.Result)
			c := num(written)
			known = known || written != none
			if i > 0 {
				c.Sub, c.Class = ratio(v, base, m.better)
			}
			if m.name == "Errors" && r.Result.Errors > 0 || m.name == "Client busy" && r.Result.Client.Busy >= load.BusyLimit {
				c.Class = "bad"
			}
			row = append(row, c)
		}
		if known {
			t.add(row...)
		}
	}
	return t
}

// alike is how little two values differ to be called neither better nor worse.
const alike = 0.02

// ratio compares a value with that of the first run.
func ratio(v, base float64, b better) (written, class string) {
	q := v / base
	if base == 0 || math.IsNaN(q) || math.IsInf(q, 0) {
		return "", ""
	}
	written = measured(q) + "×"
	switch {
	case b == neither || math.Abs(q-1) <= alike:
		return written, ""
	case (q > 1) == (b == more):
		return written + " better", "better"
	default:
		return written + " worse", "worse"
	}
}

// overlays are the charts with a line for each run.
func overlays(runs []Run) []plan {
	var results []*load.Result
	sweeps := make([]*load.Sweep, len(runs))
	swept := false
	for i, r := range runs {
		results = append(results, r.Result)
		sweeps[i] = r.Result.Sweep
		swept = swept || sweeps[i] != nil
	}
	rate, inFlight := ratePlan(results...), timePlan("Connections at a time", "the most in each interval", results...)
	p99 := timePlan("Latency p99", "logarithmic", results...)
	p99.config.LogY, p99.config.YFormat = true, axisMicros
	var steps []chart.Series
	for _, r := range runs {
		rate.series = append(rate.series, overTime(r.Name, r.Result.Series, handshakeRate))
		p99.series = append(p99.series, overTime(r.Name, r.Result.Series, pointP99))
		inFlight.series = append(inFlight.series, inFlightOver(r.Name, r.Result.Series))
		steps = append(steps, chart.Series{Name: r.Name, Points: true})
	}
	plans := []plan{rate, p99, distributionPlan(runs), inFlight}
	if swept {
		p := sweepLatencies(sweeps, steps...)
		p.config.Title = "Latency p99 of the sweeps' steps"
		plans = append(plans, p)
	}
	return plans
}

// settingsTables has what the runs differ in, and what is the same.
func settingsTables(runs []Run) (differ, same table) {
	differ = table{Title: "What differs", Head: runHeads("", runs)}
	same = table{Title: "What is the same", Head: heads("", "")}
	for i := range differ.Head {
		differ.Head[i].Num = false // it is of text
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
	for i, kv := range environment(runs[0].Result) {
		row(kv[0], func(r *load.Result) string { return environment(r)[i][1] })
	}
	differ.cut()
	same.cut()
	return differ, same
}
