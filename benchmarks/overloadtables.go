//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file is what a reader is told of the part overload.

var overloadColumns = []measured[*overloadCell]{
	{"asked, /s", func(c *overloadCell) float64 { return c.Asked }},
	{"served, /s", func(c *overloadCell) float64 { return c.rate() }},
	{"of capacity, %", (*overloadCell).share},
	{"p50, ms", func(c *overloadCell) float64 { return c.p50() }},
	{"p99, ms", func(c *overloadCell) float64 { return c.p99() }},
	{"gave up, %", func(c *overloadCell) float64 { return c.errors("gave up") }},
	{"reset, %", func(c *overloadCell) float64 { return c.errors("reset") }},
	{"other errors, %", (*overloadCell).otherErrors},
	{"echo p50, ms", func(c *overloadCell) float64 { return c.echo(echoP50) }},
	{"echo p99, ms", func(c *overloadCell) float64 { return c.echo(echoP99) }},
	{"RSS, MB", func(c *overloadCell) float64 { return float64(c.RSS[1]) / 1e6 }},
	{"peak RSS, MB", func(c *overloadCell) float64 { return float64(c.PeakRSS) / 1e6 }},
}

// clientMark is at the end of the names of rows whose client was the limit.
const clientMark = " *"

// capacityTable has the servers' capacities.
func capacityTable(names []string, results map[string][]*overloadRound) *bench.Table {
	t := &bench.Table{Header: headings(overloadColumns[1:], "at capacity")}
	for _, name := range names {
		if cells := capacities(results[name]); len(cells) > 0 {
			t.Add(row(cells, overloadColumns[1:], markedName(name, cells))...)
		}
	}
	return t
}

// overloadTables has one table for each patience.
func overloadTables(names []string, patiences []load.Patience, loads []float64, results map[string][]*overloadRound) (tables []*bench.Table) {
	for _, p := range patiences {
		t := &bench.Table{Header: headings(overloadColumns, "patience "+p.String())}
		for _, factor := range loads {
			for _, name := range names {
				if cells := cellsOf(results[name], p, factor); len(cells) > 0 {
					t.Add(row(cells, overloadColumns, markedName(fmt.Sprintf("%v×: %s", factor, name), cells))...)
				}
			}
		}
		tables = append(tables, t)
	}
	return tables
}

func capacities(rounds []*overloadRound) (cells []*overloadCell) {
	for _, r := range rounds {
		cells = append(cells, r.Capacity)
	}
	return cells
}

// cellsOf returns those of one load and patience, of all rounds.
func cellsOf(rounds []*overloadRound, p load.Patience, factor float64) (cells []*overloadCell) {
	for _, r := range rounds {
		for _, c := range r.Cells {
			if c.Patience == p.String() && c.Factor == factor {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// markedName marks a row if the client was the limit in one of its cells.
func markedName(name string, cells []*overloadCell) string {
	if slices.ContainsFunc(cells, (*overloadCell).clientLimited) {
		return name + clientMark
	}
	return name
}

var burstColumns = []measured[*burstCell]{
	{"recovered after, s", (*burstCell).recovered},
	{"last failed after, s", func(c *burstCell) float64 { return c.LastFailed }},
	{"p99 before, ms", func(c *burstCell) float64 { return float64(c.Before) / 1e3 }},
	{"served of all, %", func(c *burstCell) float64 { return served(c.Calm.Load) }},
	{"of the burst, %", func(c *burstCell) float64 { return served(c.Burst) }},
	{"echo p50, ms", func(c *burstCell) float64 { return echoTime(c.Echo, echoP50) }},
	{"echo p99, ms", func(c *burstCell) float64 { return echoTime(c.Echo, echoP99) }},
	{"peak RSS, MB", func(c *burstCell) float64 { return float64(c.PeakRSS) / 1e6 }},
}

// burstTables has one table for each patience.
func burstTables(names []string, patiences []load.Patience, results map[string][]*overloadRound) (tables []*bench.Table) {
	for _, p := range patiences {
		t := &bench.Table{Header: headings(burstColumns, "burst, patience "+p.String())}
		for _, name := range names {
			if cells := burstsOf(results[name], p); len(cells) > 0 {
				t.Add(row(cells, burstColumns, name)...)
			}
		}
		tables = append(tables, t)
	}
	return tables
}

func burstsOf(rounds []*overloadRound, p load.Patience) (cells []*burstCell) {
	for _, r := range rounds {
		for _, c := range r.Bursts {
			if c.Patience == p.String() {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// overloadWarnings says which figures are not what they seem, and what the servers
// and the clients counted besides.
func overloadWarnings(names []string, results map[string][]*overloadRound) []string {
	var notes []string
	marked, unprivileged := false, false
	echo := func(where string, p *probeResult, failed string) {
		if failed != "" {
			notes = append(notes, fmt.Sprintf("%s: the connection that was there before failed: %s.", where, oneLine(failed)))
		}
		unprivileged = unprivileged || p != nil && !p.Realtime
	}
	for _, name := range names {
		others := 0.0
		for _, r := range results[name] {
			for _, c := range append([]*overloadCell{r.Capacity}, r.Cells...) {
				where := fmt.Sprintf("%s, %v×, patience %s", name, c.Factor, c.Patience)
				if c.Factor == 0 {
					where = name + ", at capacity"
				}
				others = max(others, c.otherBusy())
				if c.clientLimited() {
					marked = true
					notes = append(notes, fmt.Sprintf("%s: client busy %.0f %%, %d connections at a time, %d not begun, half were begun %s ms late or later.",
						where, c.clientBusy(), c.Load.MaxInFlight, c.Load.NotBegun, startDelay(c.Load)))
				}
				echo(where, c.Echo, c.EchoFailed)
				if text := otherKinds(c.Load); text != "" {
					notes = append(notes, fmt.Sprintf("%s: %s.", where, text))
				}
				if text := countsText(c.ServerCount); text != "" && c.Factor != 0 {
					notes = append(notes, fmt.Sprintf("%s: the server has counted: %s.", where, text))
				}
			}
			for _, c := range r.Bursts {
				where := fmt.Sprintf("%s, burst, patience %s", name, c.Patience)
				others = max(others, c.Calm.otherBusy())
				echo(where, c.Echo, c.EchoFailed)
				for who, res := range map[string]*load.Result{"all the time": c.Calm.Load, "in the burst": c.Burst} {
					if text := otherKinds(res); text != "" {
						notes = append(notes, fmt.Sprintf("%s, clients that came %s: %s.", where, who, text))
					}
				}
				if text := countsText(c.ServerCount); text != "" {
					notes = append(notes, fmt.Sprintf("%s: the server has counted: %s.", where, text))
				}
			}
		}
		if others > 5 {
			notes = append(notes, fmt.Sprintf("%s: others (processes, interrupts, the hypervisor) took up to %.0f %% of its core: its figures contain that.", name, others))
		}
	}
	if marked {
		notes = slices.Insert(notes, 0, fmt.Sprintf("* The client did not offer the whole load in these rows: its core was busy, or all of its connections were in use (there are %d), and it began clients late or not at all. A slower key (--key rsa4096) slows the server and not the client.", maxOpen()))
	}
	if unprivileged {
		notes = append(notes, "The system did not let the echo go before the other clients (SCHED_FIFO): it waited for them at times.")
	}
	return notes
}

// startDelay is the median of how late clients were begun, in milliseconds.
func startDelay(r *load.Result) string {
	if r.StartDelay == nil || r.StartDelay.Count == 0 {
		return "–"
	}
	return bench.Figure(float64(r.StartDelay.P50) / 1e3)
}

// otherKinds tells of errors that have no column.
func otherKinds(r *load.Result) string {
	others := maps.Clone(r.ErrorsByKind)
	delete(others, "gave up")
	delete(others, "reset")
	return kinds(others, r.ErrorExamples)
}

// countsText tells counters by name, without those that are 0.
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

// oneLine is a text for a note.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
