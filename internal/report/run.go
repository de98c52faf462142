package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the view of one run, and the tiles at its top.

type runView struct {
	ID       string // unique on the page
	Name     string
	Swatch   int
	What     []string // what was measured, in short
	When     string
	Command  string
	Stopped  string
	Warnings []string
	Tiles    []tile
	Few      string // what the mark of percentiles means; empty if none is marked
	Sweep    *table
	Figures  []figure
	Tables   []table
}

// tile is a figure in large type at the top of a run.
type tile struct {
	Label string
	quantity
	Sub   string
	Class string
}

func viewOf(i int, run Run) (runView, error) {
	r := run.Result
	figures, err := figuresOf(r)
	if err != nil {
		return runView{}, err
	}
	v := runView{
		ID: fmt.Sprintf("run-%d", i+1), Name: run.Name, Swatch: swatch(i),
		What: what(r), When: when(r), Command: r.Settings.Command,
		Stopped: r.Stopped, Warnings: r.Warnings,
		Tiles: tiles(r), Sweep: sweepTable(r), Figures: figures,
		Tables: []table{phasesTable(r), errorsTable(r), negotiatedTable(r), certificatesTable(r), targetsTable(r), totalsTable(r), clientTable(r), settingsTable(r), environmentTable(r)},
	}
	v.Tables = slices.DeleteFunc(v.Tables, func(t table) bool { return len(t.Rows) == 0 })
	for k := range v.Tables {
		v.Tables[k].cut()
	}
	if slices.ContainsFunc(v.Tables, table.hasFew) || v.Sweep != nil && v.Sweep.hasFew() {
		v.Few = fewNote
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

// when says when a run was made, where, and by which build.
func when(r *load.Result) string {
	parts := []string{r.Environment.Host}
	if v := r.Environment.Version; v != "" {
		parts = append(parts, "tlsdemo "+v)
	}
	if !r.Started.IsZero() {
		parts = append([]string{r.Started.UTC().Format(time.DateTime + " UTC")}, parts...)
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// tiles returns the figures at the top of a run.
func tiles(r *load.Result) []tile {
	var out []tile
	label := "Handshake rate"
	if r.Sweep != nil {
		knee := tile{Label: "Knee of the sweep", quantity: quantity{measured(r.Sweep.Knee), "/s"}, Sub: "above it: " + r.Sweep.Limit, Class: "main"}
		if r.Sweep.Knee == 0 {
			knee.quantity, knee.Sub = quantity{none, ""}, cmp.Or(r.Sweep.Limit, "the server kept up with no rate")
		} else if r.Sweep.Limit == "" {
			knee.Sub = "at least: no higher rate was tried"
		}
		out = append(out, knee)
		label = "Best step"
	}
	rate := tile{Label: label, quantity: quantity{measured(r.HandshakesPer), "/s"}, Class: "main",
		Sub: fmt.Sprintf("%s in %v", count(r.Handshakes), micros(r.Duration*1e6))}
	if r.StartDelay != nil { // an open loop: some may have ended after that time
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
	if r.Handshakes > 0 {
		client.quantity = micros(r.Client.CPUPerHandshake)
	}
	if r.Client.Busy >= load.BusyLimit {
		client.Class, client.Sub = "doubt", client.Sub+": may be the limit"
	}
	l := r.Latency
	p99, class := tail(l, l.P99, leastP99)
	p999, _ := tail(l, l.P999, leastP999)
	return append(out, rate,
		tile{Label: "Latency p50", quantity: latency(l, l.P50), Sub: "mean " + latency(l, l.Mean).String()},
		tile{Label: "Latency p99", quantity: p99, Sub: "p99.9 " + p999.String(), Class: class},
		tile{Label: "Latency max", quantity: latency(l, l.Max), Sub: "min " + latency(l, l.Min).String()},
		failed, client)
}

// latency formats one of the percentiles. If nothing was counted, there is none.
func latency(p load.Percentiles, us int64) quantity {
	if p.Count == 0 {
		return quantity{none, ""}
	}
	return micros(float64(us))
}

// With fewer handshakes, fewer than ten are slower than the percentile.
const (
	leastP99  = 1000
	leastP999 = 10_000
)

const fewNote = "~ marks a p99 of fewer than 1,000 handshakes and a p99.9 of fewer than 10,000. Fewer than ten handshakes were slower, so the next run may give a very different value."

// tail formats a high percentile. It is marked if there were fewer than least
// handshakes.
func tail(p load.Percentiles, us, least int64) (q quantity, class string) {
	q = latency(p, us)
	if p.Count > 0 && p.Count < least {
		q.Number, class = "~"+q.Number, classFew
	}
	return q, class
}
