//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

// This file is what a reader is told of the scenario overload.

var overloadColumns = []report.Column[*overloadCell]{
	{Name: "asked, /s", Of: func(c *overloadCell) float64 { return c.Asked }},
	{Name: "served, /s", Of: func(c *overloadCell) float64 { return c.Rate() }, Higher: true},
	{Name: "of capacity, %", Of: (*overloadCell).share, Higher: true},
	{Name: "p50, ms", Of: func(c *overloadCell) float64 { return c.P50() }},
	{Name: "p99, ms", Of: func(c *overloadCell) float64 { return c.P99() }},
	{Name: "gave up, %", Of: func(c *overloadCell) float64 { return c.failed("gave up") }},
	{Name: "reset, %", Of: func(c *overloadCell) float64 { return c.failed("reset") }},
	{Name: "other errors, %", Of: (*overloadCell).otherErrors},
	{Name: "echo p50, ms", Of: func(c *overloadCell) float64 { return c.Echo.Milliseconds(client.ProbeP50) }},
	{Name: "echo p99, ms", Of: func(c *overloadCell) float64 { return c.Echo.Milliseconds(client.ProbeP99) }},
	{Name: "RSS, MB", Of: func(c *overloadCell) float64 { return float64(c.RSS[1]) / 1e6 }},
	{Name: "peak RSS, MB", Of: func(c *overloadCell) float64 { return float64(c.PeakRSS) / 1e6 }},
}

// clientMark is at the end of the names of rows whose client was the limit.
const clientMark = " *"

var burstColumns = []report.Column[*burstCell]{
	{Name: "recovered after, s", Of: (*burstCell).recovered},
	{Name: "last failed after, s", Of: func(c *burstCell) float64 { return c.LastFailed }},
	{Name: "p99 before, ms", Of: func(c *burstCell) float64 { return float64(c.Before) / 1e3 }},
	{Name: "served of all, %", Of: func(c *burstCell) float64 { return served(c.Calm.Load) }, Higher: true},
	{Name: "of the burst, %", Of: func(c *burstCell) float64 { return served(c.Burst) }, Higher: true},
	{Name: "echo p50, ms", Of: func(c *burstCell) float64 { return c.Echo.Milliseconds(client.ProbeP50) }},
	{Name: "echo p99, ms", Of: func(c *burstCell) float64 { return c.Echo.Milliseconds(client.ProbeP99) }},
	{Name: "peak RSS, MB", Of: func(c *burstCell) float64 { return float64(c.PeakRSS) / 1e6 }},
}

// addCells adds a row for each server that has cells. It is marked if the client
// was the limit in one of them.
func addCells[C interface{ clientLimited() bool }](t *report.Table, prefix string, names []string, results map[string][]*overloadRound, columns []report.Column[C], cells func(*overloadRound) []C) {
	for _, name := range names {
		var all []C
		for _, r := range results[name] {
			all = append(all, cells(r)...)
		}
		if slices.ContainsFunc(all, C.clientLimited) {
			name += clientMark
		}
		if len(all) > 0 {
			report.AddRow(t, all, columns, prefix+name)
		}
	}
}

// capacityTable has the servers' capacities.
func capacityTable(names []string, results map[string][]*overloadRound) *report.Table {
	t := report.NewTable("capacity", overloadColumns[1:], "at capacity")
	addCells(t, "", names, results, overloadColumns[1:], func(r *overloadRound) []*overloadCell { return []*overloadCell{r.Capacity} })
	return t
}

// overloadTable is of one patience.
func overloadTable(names []string, p load.Times, loads []float64, results map[string][]*overloadRound) *report.Table {
	t := report.NewTable("patience="+p.String(), overloadColumns, "patience "+p.String())
	for _, factor := range loads {
		other := func(c *overloadCell) bool { return c.Patience != p.String() || c.Factor != factor }
		addCells(t, fmt.Sprintf("%v×: ", factor), names, results, overloadColumns, func(r *overloadRound) []*overloadCell {
			return slices.DeleteFunc(slices.Clone(r.Cells), other)
		})
	}
	return t
}

// burstTable is of one patience.
func burstTable(names []string, p load.Times, results map[string][]*overloadRound) *report.Table {
	t := report.NewTable("burst, patience="+p.String(), burstColumns, "burst, patience "+p.String())
	addCells(t, "", names, results, burstColumns, func(r *overloadRound) []*burstCell {
		return slices.DeleteFunc(slices.Clone(r.Bursts), func(c *burstCell) bool { return c.Patience != p.String() })
	})
	return t
}

// noteOverload notes which figures mislead, and what else the servers and the
// clients have counted.
func (r *run) noteOverload(names []string, results map[string][]*overloadRound) {
	first, limited := len(r.Notes), false
	look := func(where string, res *load.Result) {
		if clientLimited(res) {
			limited = true
			r.Notef("%s: client busy %.0f %%, %d connections at a time, %d not begun, half were begun %s ms late or later.",
				where, 100*res.Client.Busy, res.MaxInFlight, res.NotBegun, startDelay(res))
		}
		if text := otherKinds(res); text != "" {
			r.Notef("%s: %s.", where, text)
		}
	}
	var probes []*client.ProbeResult
	after := func(where string, a *aftermath, counted bool) {
		probes = append(probes, a.Echo)
		if a.EchoFailed != "" {
			r.Notef("%s: the connection that was there before failed: %s.", where, strings.Join(strings.Fields(a.EchoFailed), " "))
		}
		if text := countsText(a.ServerCount); text != "" && counted {
			r.Notef("%s: the server has counted: %s.", where, text)
		}
	}
	for _, name := range names {
		var busy []float64
		for _, round := range results[name] {
			for _, c := range append([]*overloadCell{round.Capacity}, round.Cells...) {
				where := fmt.Sprintf("%s, %v×, patience %s", name, c.Factor, c.Patience)
				if c.Factor == 0 {
					where = name + ", at capacity"
				}
				look(where, c.Load)
				after(where, &c.aftermath, c.Factor != 0)
				busy = append(busy, c.OtherBusy())
			}
			for _, c := range round.Bursts {
				where := fmt.Sprintf("%s, burst, patience %s", name, c.Patience)
				look(where+", clients that came all the time", c.Calm.Load)
				look(where+", clients that came in the burst", c.Burst)
				after(where, &c.aftermath, true)
				busy = append(busy, c.Calm.OtherBusy())
			}
		}
		r.noteOthers(name, busy...)
	}
	r.noteProbes("Echo", probes...)
	if limited {
		r.Notes = slices.Insert(r.Notes, first, fmt.Sprintf("* The client did not offer the whole load in these rows: its core was busy, or all of its connections were in use (there are %d), and it began clients late or not at all. A slower key (--key rsa4096) slows the server and not the client.", maxOpen()))
	}
}

// startDelay is the median of how late clients were begun, in milliseconds.
func startDelay(r *load.Result) string {
	if r.StartDelay == nil || r.StartDelay.Count == 0 {
		return "–"
	}
	return report.Figure(float64(r.StartDelay.P50) / 1e3)
}

// otherKinds lists the errors that have no column.
func otherKinds(r *load.Result) string {
	others := maps.Clone(r.ErrorsByKind)
	delete(others, "gave up")
	delete(others, "reset")
	return kinds(others, r.ErrorExamples)
}

// countsText lists counters by name, without those that are 0.
func countsText(counts map[string]float64) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] != 0 {
			_, short, _ := strings.Cut(name, "_")
			all = append(all, fmt.Sprintf("%s %.0f", short, counts[name]))
		}
	}
	return strings.Join(all, ", ")
}
