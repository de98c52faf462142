//go:build linux

package scenario

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

// This file is what a reader is told of the scenario handshakes: tables,
// warnings, failures, pictures.

var saturationColumns = []report.Column[*client.Loaded]{
	{Name: "handshakes/s", Of: (*client.Loaded).Rate, Higher: true},
	{Name: "server CPU, µs each", Of: (*client.Loaded).CPU},
	{Name: "server busy, %", Of: func(r *client.Loaded) float64 { return r.Busy() }},
	{Name: "client busy, %", Of: (*client.Loaded).ClientBusy},
	{Name: "p50, ms", Of: (*client.Loaded).P50},
	{Name: "p99, ms", Of: (*client.Loaded).P99},
	{Name: "RSS, MB", Of: func(r *client.Loaded) float64 { return float64(r.RSS[2]) / 1e6 }},
}

var openColumns = []report.Column[*openRound]{
	{Name: "asked, /s", Of: func(r *openRound) float64 { return r.Asked }},
	{Name: "served, /s", Of: func(r *openRound) float64 { return r.Rate() }, Higher: true},
	{Name: "failed, %", Of: (*openRound).failed},
	{Name: "p50, ms", Of: func(r *openRound) float64 { return r.P50() }},
	{Name: "p99, ms", Of: func(r *openRound) float64 { return r.P99() }},
	{Name: "max, ms", Of: func(r *openRound) float64 { return r.Max() }},
}

// failed is how many of the clients were not served, in percent.
func (r *openRound) failed() float64 {
	return 100 * float64(r.Load.Errors) / float64(r.Load.Errors+r.Load.Handshakes)
}

// notes says what the figures of all tables are of.
func (h *handshakes) notes(quick bool) []string {
	notes := []string{fmt.Sprintf("Saturation: %d clients at a time; %s of %v for each server in turn: median (least–greatest).", h.Clients, roundsText(h.Rounds), h.Duration)}
	if h.Request {
		notes = append(notes, "Figures are of a handshake with one request and its answer.")
	}
	if h.Threads > 1 {
		text := fmt.Sprintf("The servers had %d threads", h.Threads)
		if cores := runtime.NumCPU(); clientShares(h.Threads, cores) {
			text += fmt.Sprintf(". There are %d cores, and the client shared its own with the server: rate and latency are of both", cores)
		}
		notes = append(notes, text+".")
	}
	if h.Clients == 1 {
		return append(notes, "One client at a time: the server is idle while the client computes, and handshakes/s says nothing of the server's limit.")
	}
	if h.has("half") || h.has("twice") {
		notes = append(notes, fmt.Sprintf("Half and twice are parts of the server's own rate at saturation. Clients come on schedule, whatever the server does, and give up after %v. Latency is from the moment a client was due, of those that were served. The warm-up is %v, and %v before twice the rate.", patience, h.Warmup, h.warmup("twice", quick)))
	}
	return notes
}

// saturations returns the loads at saturation, by server.
func (r *handshakeResults) saturations() map[string][]*client.Loaded {
	loads := make(map[string][]*client.Loaded)
	for name, rounds := range r.Rounds {
		loads[name] = saturations(rounds)
	}
	return loads
}

// open returns the loads by a schedule, by server.
func (r *handshakeResults) open(schedule string) map[string][]*openRound {
	loads := make(map[string][]*openRound)
	for name, rounds := range r.Rounds {
		for _, round := range rounds {
			if o := round.Open[schedule]; o != nil {
				loads[name] = append(loads[name], o)
			}
		}
	}
	return loads
}

// tables returns that of saturation, and, if there is one, that of loads by
// schedule.
func (r *handshakeResults) tables() []*report.Table {
	what := r.What.String()
	tables := []*report.Table{serverTable(what+", saturation", what, r.Servers, r.saturations(), saturationColumns)}
	t := report.NewTable(what, openColumns, what)
	for _, s := range schedules {
		open := r.open(s.name)
		measured := slices.DeleteFunc(slices.Clone(r.Servers), func(name string) bool { return len(open[name]) == 0 })
		addServers(t, s.name+": ", measured, open, openColumns)
	}
	if len(t.Rows) > 0 {
		tables = append(tables, t)
	}
	return tables
}

// warnings says which figures are not what they seem. What is the same of several
// servers is one note.
func (r *handshakeResults) warnings(clients int) (notes []string) {
	var texts []string
	of := make(map[string][]string) // servers by text
	for _, name := range r.Servers {
		for _, text := range roundWarnings(r.Rounds[name], clients) {
			if of[text] == nil {
				texts = append(texts, text)
			}
			of[text] = append(of[text], name)
		}
	}
	for _, text := range texts {
		notes = append(notes, fmt.Sprintf("%v, %s: %s", r.What, strings.Join(of[text], ", "), text))
	}
	return notes
}

// serverFull is the share of the server's core, in percent, from which on nothing
// more is to be had from it.
const serverFull = 95

// roundWarnings are those of one server.
func roundWarnings(rounds []*handshakeRound, clients int) (texts []string) {
	note := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	var limited, idle, skipped, late, full, connections int
	var notBegun int64
	why, rates := "", ""
	for _, round := range rounds {
		if sat := round.Saturation; sat != nil && sat.Busy()+sat.OtherBusy() < serverFull {
			if idle++; sat.ClientFull() {
				limited++
			}
		}
		if round.NotTwice != "" {
			skipped, why = skipped+1, round.NotTwice
		}
		for _, open := range round.Open {
			rates = ", and half and twice are parts of the client's rate"
			if open.ClientFull() {
				late++
			}
			if open.Load.MaxInFlight >= open.Connections {
				full, connections = full+1, open.Connections
			}
		}
		if half := round.Open["half"]; half != nil {
			notBegun += half.Load.NotBegun
		}
	}
	sats := saturations(rounds)
	switch {
	case clients == 1 || idle == 0:
	case limited > 0:
		note("the server's core was idle at times while the client's was not. The client was the limit: handshakes/s and latency are the client's%s. CPU time is the server's all the same.", rates)
	default:
		note("in %d of %d rounds the server's core was idle at times, and so was the client's.", idle, len(sats))
	}
	if text := others(report.Figures(sats, func(r *client.Loaded) float64 { return r.OtherBusy() })...); text != "" {
		note("%s", text)
	}
	if skipped > 0 {
		note("twice the rate was SKIPPED in %d rounds: %s.", skipped, why)
	}
	if late > 0 {
		note("in %d loads by schedule the client's core was %.0f %% busy or more: their latency is the client's too.", late, 100*load.BusyLimit)
	}
	if full > 0 {
		note("in %d loads by schedule all %d connections of the client were in use at times. Clients then waited for one, too, and longer than %v.", full, connections, patience)
	}
	if notBegun > 0 {
		note("at half the rate the client did not begin %d handshakes in time.", notBegun)
	}
	return append(texts, clientWarnings(rounds)...)
}

// toldWarnings are parts of those warnings of the client that our own notes or
// figures tell already: it was the limit, it had no connection left, or fewer
// clients were served than came.
var toldWarnings = []string{"the client was busy for ", "connections were in use at times", "did not keep up"}

var digits = regexp.MustCompile(`[0-9.]+`)

// clientWarnings returns the client's other warnings, and of which of a server's
// loads they are. Of those that differ in their figures only, it returns the
// first.
func clientWarnings(rounds []*handshakeRound) (all []string) {
	seen := make(map[string]bool)
	add := func(where string, r *client.Loaded) {
		for _, w := range r.Load.Warnings {
			told := slices.ContainsFunc(toldWarnings, func(part string) bool { return strings.Contains(w, part) })
			if kind := where + digits.ReplaceAllString(w, ""); !told && !seen[kind] {
				seen[kind] = true
				all = append(all, fmt.Sprintf("the client warns, at %s: %s", where, w))
			}
		}
	}
	for _, round := range rounds {
		if round.Saturation != nil {
			add("saturation", round.Saturation)
		}
		for _, s := range schedules {
			if open := round.Open[s.name]; open != nil {
				add(s.name+" its rate", &open.Loaded)
			}
		}
	}
	return all
}

// errors says which handshakes failed. At twice the rate, some are expected to.
func (r *handshakeResults) errors() (errs []error) {
	for _, name := range r.Servers {
		where := fmt.Sprintf("%v, %s", r.What, name)
		for i, round := range r.Rounds[name] {
			if round.Failed != "" {
				errs = append(errs, fmt.Errorf("%s, round %d: %s", where, i+1, round.Failed))
				continue
			}
			if err := failed(where, i, round.Saturation.Load); err != nil {
				errs = append(errs, err)
			}
			// What the client did not begin is no fault of the server's.
			if half := round.Open["half"]; half != nil && (half.Load.Errors > half.Load.NotBegun || half.Load.Handshakes == 0) {
				errs = append(errs, failed(where+", at half its rate", i, half.Load))
			}
		}
	}
	return errs
}

// plotHandshakes has the CPU time of all kinds of handshakes with a key, and the
// latency of the first of these, if it was measured.
func plotHandshakes(r *report.Report, all []*handshakeResults) {
	for len(all) > 0 {
		first, n := all[0], 0
		var bars []report.Bar
		for n < len(all) && all[n].What.Key == first.What.Key {
			res := all[n]
			bars = append(bars, report.NewBar("TLS "+res.What.TLS+", "+res.What.Resume, res.Servers, res.saturations(), (*client.Loaded).CPU))
			n++
		}
		r.AddBars("handshakes-cpu-"+first.What.Key, "Server CPU of a handshake, "+first.What.Key, "µs", first.Servers, false, bars...)
		plotLatency(r, first)
		all = all[n:]
	}
}

// plotLatency has the latencies of clients that come on schedule.
func plotLatency(r *report.Report, res *handshakeResults) {
	var bars []report.Bar
	var parts []string
	for _, s := range schedules {
		open := res.open(s.name)
		if len(open) == 0 {
			continue
		}
		parts = append(parts, s.name)
		bars = append(bars,
			report.NewBar(s.name+", p50", res.Servers, open, func(r *openRound) float64 { return r.P50() }),
			report.NewBar(s.name+", p99", res.Servers, open, func(r *openRound) float64 { return r.P99() }))
	}
	if len(bars) > 0 {
		r.AddBars("handshakes-latency-"+res.What.Key, "Latency at "+strings.Join(parts, " and ")+" the rate at saturation, "+res.What.String(), "ms", res.Servers, true, bars...)
	}
}
