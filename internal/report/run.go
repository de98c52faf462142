package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the view of one run, and the tiles at its top.

type runView struct {
	ID       string // unique on the page
	Name     string
	Swatch   int
	What     []string // what was measured, in short
	Facts    []fact
	Stopped  string
	Unmet    []string // thresholds
	Warnings []string
	Tiles    []tile
	Sweep    *table
	Figures  []figure
	Machines *table // of a merged result
	Tables   []table
	Values   []table // that the figures show
}

// hasWeak reports whether the view shows a weak percentile.
func (v *runView) hasWeak() bool {
	return slices.ContainsFunc(v.Tables, table.hasWeak) || v.Sweep != nil && v.Sweep.hasWeak() || v.Machines != nil && v.Machines.hasWeak() ||
		slices.ContainsFunc(v.Figures, func(f figure) bool { return f.Weak })
}

// tile is a figure in large type at the top of a run.
type tile struct {
	Label string
	quantity
	Sub   string
	Class string
}

// runID returns the id of the run with that index on the page.
func runID(i int) string { return fmt.Sprintf("run-%d", i+1) }

func viewOf(i int, run Run) (runView, error) {
	r := run.Result
	id := runID(i)
	figures, err := drawAll(plansOf(id, r))
	if err != nil {
		return runView{}, err
	}
	v := runView{
		ID: id, Name: run.Name, Swatch: swatch(i), What: what(r), Facts: facts(r),
		Stopped: r.Stopped, Unmet: r.Unmet, Warnings: r.Warnings,
		Tiles: tiles(r), Sweep: sweepTable(id, r), Figures: figures,
		Tables: []table{phasesTable(r), errorsTable(r), negotiatedTable(r), certificatesTable(r), targetsTable(r), totalsTable(r), clientTable(r), settingsTable(r), environmentTable(r)},
		Values: []table{timeValues(id, r), distributionValues(id, r)},
	}
	if machines := machinesTable(r); len(machines.Rows) > 0 {
		machines.cut()
		v.Machines = &machines
	}
	v.Values = slices.DeleteFunc(v.Values, func(t table) bool { return len(t.Rows) == 0 })
	v.Tables = slices.DeleteFunc(v.Tables, func(t table) bool { return len(t.Rows) == 0 })
	for k := range v.Tables {
		v.Tables[k].cut()
	}
	return v, nil
}

// what says what was measured: the targets, and the most frequent kind of handshake.
func what(r *load.Result) []string {
	var out []string
	for i, t := range r.Targets {
		if i == 3 {
			out = append(out, fmt.Sprintf("and %d more", len(r.Targets)-i))
			break
		}
		out = append(out, t.Target)
	}
	return append(out, mostOf(r)...)
}

// mostOf describes the most frequent kind of handshake and certificate.
func mostOf(r *load.Result) []string {
	var out []string
	if n := byHandshakes(r.Negotiated, func(n load.Negotiated) int64 { return n.Handshakes }); len(n) > 0 {
		out = append(out, n[0].Version, n[0].Cipher)
		if n[0].Curve != "" {
			out = append(out, n[0].Curve)
		}
		if n[0].Resumed {
			out = append(out, "resumed")
		}
	}
	if c := byHandshakes(r.Certificates, func(c load.Certificate) int64 { return c.Handshakes }); len(c) > 0 {
		out = append(out, c[0].Key)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// byHandshakes returns a sorted copy, the most handshakes first.
func byHandshakes[T any](list []T, of func(T) int64) []T {
	return slices.SortedStableFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(of(b), of(a)) })
}

// tiles returns the figures at the top of a run.
func tiles(r *load.Result) []tile {
	var out []tile
	label := "Handshake rate"
	if r.Sweep != nil {
		knee := tile{Label: "Knee of the sweep", quantity: quantity{measured(r.Sweep.Knee), "/s"}, Sub: "above it: " + r.Sweep.Limit, Class: "main"}
		if r.Sweep.Knee == 0 {
			knee.quantity, knee.Sub = quantity{none, ""}, cmp.Or(r.Sweep.Limit, "no step was finished")
		} else if r.Sweep.Limit == "" {
			knee.Sub = "at least: no higher rate was tried"
		}
		out = append(out, knee)
		label = "Best step"
	}
	rate := tile{Label: label, quantity: quantity{measured(r.HandshakesPer), "/s"}, Class: "main",
		Sub: fmt.Sprintf("%s in %v", count(r.Handshakes), micros(r.Duration*1e6))}
	switch {
	case r.Handshakes == 0 && r.HandshakesPer > 0: // the backlog of the warm-up took all the time
		rate.Sub = "all of them due before the measured part"
	case r.StartDelay != nil: // an open loop: some may have ended after that time
		rate.Sub = fmt.Sprintf("%s, due in %v", count(r.Handshakes), micros(r.Duration*1e6))
	}
	failed := tile{Label: "Errors", quantity: quantity{count(r.Errors), ""}, Sub: "none failed"}
	if r.Errors > 0 {
		failed.Class, failed.Sub = "bad", percent(float64(r.Errors), float64(r.Errors+r.Handshakes))+" of all"
		if r.NotBegun > 0 {
			failed.Sub += ", " + count(r.NotBegun) + " never begun"
		}
		if r.GaveUpAfter != nil {
			failed.Sub += ", " + count(r.GaveUpAfter.Count) + " gave up"
		}
	} else if r.Handshakes == 0 {
		failed.Sub = ""
	}
	client := tile{Label: "Client CPU each", quantity: quantity{none, ""}, Sub: percent(r.Client.Busy, 1) + " busy"}
	if r.Client.CPUPerHandshake > 0 {
		client.quantity = micros(r.Client.CPUPerHandshake)
	}
	if r.Client.Busy >= load.BusyLimit {
		client.Class, client.Sub = "doubt", client.Sub+": may be the limit"
	}
	l := r.Latency
	p50, class50 := percentileOf(l, 50, l.P50)
	p99, class99 := percentileOf(l, 99, l.P99)
	p999, _ := percentileOf(l, 99.9, l.P999)
	return append(out, rate,
		tile{Label: "Latency p50", quantity: p50, Sub: "mean " + latency(l, l.Mean).String(), Class: class50},
		tile{Label: "Latency p99", quantity: p99, Sub: "p99.9 " + p999.String(), Class: class99},
		tile{Label: "Latency max", quantity: latency(l, l.Max), Sub: "min " + latency(l, l.Min).String()},
		failed, client)
}
