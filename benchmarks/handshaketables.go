//go:build linux

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file is what a reader is told of the handshakes part: tables, warnings,
// failures.

var saturationColumns = []measured[*loadRound]{
	{"handshakes/s", (*loadRound).rate},
	{"server CPU, µs each", (*loadRound).cpu},
	{"server busy, %", (*loadRound).busy},
	{"client busy, %", (*loadRound).clientBusy},
	{"p50, ms", (*loadRound).p50},
	{"p99, ms", (*loadRound).p99},
	{"RSS, MB", func(r *loadRound) float64 { return float64(r.RSS[2]) / 1e6 }},
}

var openColumns = []measured[*openRound]{
	{"asked, /s", func(r *openRound) float64 { return r.Asked }},
	{"served, /s", func(r *openRound) float64 { return r.rate() }},
	{"failed, %", (*openRound).failed},
	{"p50, ms", func(r *openRound) float64 { return r.p50() }},
	{"p99, ms", func(r *openRound) float64 { return r.p99() }},
	{"max, ms", func(r *openRound) float64 { return r.max() }},
}

// failed is how many of the clients were not served, in percent.
func (r *openRound) failed() float64 {
	return 100 * float64(r.Load.Errors) / float64(r.Load.Errors+r.Load.Handshakes)
}

// tables returns that of saturation, and, if there is one, that of latencies.
func (r *handshakeResults) tables() []*bench.Table {
	saturation := make(map[string][]*loadRound)
	half, twice := make(map[string][]*openRound), make(map[string][]*openRound)
	for name, rounds := range r.Rounds {
		saturation[name] = saturations(rounds)
		for _, round := range rounds {
			if round.Half != nil {
				half[name] = append(half[name], round.Half)
			}
			if round.Twice != nil {
				twice[name] = append(twice[name], round.Twice)
			}
		}
	}
	t := &bench.Table{Header: headings(saturationColumns, r.What.String())}
	addServers(t, "", r.Servers, saturation, saturationColumns)
	tables := []*bench.Table{t}
	if len(half)+len(twice) > 0 {
		t := &bench.Table{Header: headings(openColumns, r.What.String())}
		addServers(t, "half: ", r.having(half), half, openColumns)
		addServers(t, "twice: ", r.having(twice), twice, openColumns)
		tables = append(tables, t)
	}
	return tables
}

// having returns the servers that have rounds, in the order they were named.
func (r *handshakeResults) having(rounds map[string][]*openRound) (names []string) {
	for _, name := range r.Servers {
		if len(rounds[name]) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// serverFull is the share of the server's core, in percent, from which on nothing
// more is to be had from it.
const serverFull = 95

// clientFull says whether the client may have been the limit.
func (r *loadRound) clientFull() bool { return r.Load.Client.Busy >= load.BusyLimit }

// warnings says which figures are not what they seem.
func (r *handshakeResults) warnings(clients int) []string {
	var order []string // of texts
	of := make(map[string][]string)
	for _, name := range r.Servers {
		note := func(format string, args ...any) { // the same of several servers is one note
			text := fmt.Sprintf(format, args...)
			if of[text] == nil {
				order = append(order, text)
			}
			of[text] = append(of[text], name)
		}
		var limited, idle, late, full, connections int
		var notBegun int64
		disturbed := 0.0
		skipped, why, rates := 0, "", ""
		rounds := saturations(r.Rounds[name])
		for _, sat := range rounds {
			disturbed = max(disturbed, sat.otherBusy())
			if sat.busy()+sat.otherBusy() >= serverFull {
				continue
			}
			if idle++; sat.clientFull() {
				limited++
			}
		}
		for _, round := range r.Rounds[name] {
			if round.NotTwice != "" {
				skipped, why = skipped+1, round.NotTwice
			}
			for _, open := range []*openRound{round.Half, round.Twice} {
				if open == nil {
					continue
				}
				rates = ", and half and twice are so of the client's rate"
				if open.clientFull() {
					late++
				}
				if open.Load.MaxInFlight >= open.Connections {
					full, connections = full+1, open.Connections
				}
			}
			if round.Half != nil {
				notBegun += round.Half.Load.NotBegun
			}
		}
		switch {
		case clients == 1 || idle == 0:
		case limited > 0:
			note("the server's core was idle at times while the client's was not: the client was the limit, and handshakes/s and latency are the client's%s. CPU time is the server's all the same.", rates)
		default:
			note("in %d of %d rounds the server's core was idle at times, and so was the client's.", idle, len(rounds))
		}
		if disturbed > 5 {
			note("others (processes, interrupts, the hypervisor) took up to %.0f %% of the core in a round.", disturbed)
		}
		if skipped > 0 {
			note("twice the rate was SKIPPED in %d rounds: %s.", skipped, why)
		}
		if late > 0 {
			note("in %d loads by schedule the client's core was %.0f %% busy or more: their latency is the client's too.", late, 100*load.BusyLimit)
		}
		if full > 0 {
			note("in %d loads by schedule the client had no connection left at times (there are %d): clients then waited for one, too, and longer than %v.", full, connections, patience)
		}
		if notBegun > 0 {
			note("at half the rate the client did not begin %d handshakes in time.", notBegun)
		}
		for _, w := range clientWarnings(r.Rounds[name]) {
			note("the client warns, %s", w)
		}
	}
	var notes []string
	for _, text := range order {
		notes = append(notes, fmt.Sprintf("%v, %s: %s", r.What, strings.Join(of[text], ", "), text))
	}
	return notes
}

// toldWarnings are in those of the client's warnings that are notes or figures of
// our own: that it was the limit, that it had no connection left, and that fewer
// were served than asked for.
var toldWarnings = []string{"the client was busy for ", "connections were in use at times", "did not keep up"}

var digits = regexp.MustCompile(`[0-9.]+`)

// clientWarnings returns the client's other warnings, and of which of a server's
// loads they are. Of those that differ in their figures only, it returns the
// first.
func clientWarnings(rounds []*handshakeRound) (all []string) {
	seen := make(map[string]bool)
	add := func(where string, r *loadRound) {
		for _, w := range r.Load.Warnings {
			told := slices.ContainsFunc(toldWarnings, func(part string) bool { return strings.Contains(w, part) })
			if kind := where + digits.ReplaceAllString(w, ""); !told && !seen[kind] {
				seen[kind] = true
				all = append(all, where+": "+w)
			}
		}
	}
	for _, round := range rounds {
		if round.Saturation != nil {
			add("at saturation", round.Saturation)
		}
		if round.Half != nil {
			add("at half its rate", &round.Half.loadRound)
		}
		if round.Twice != nil {
			add("at twice its rate", &round.Twice.loadRound)
		}
	}
	return all
}

// errors says which handshakes failed. None is expected to, but of those that
// are twice as many as a server can do.
func (r *handshakeResults) errors() (errs []error) {
	for _, name := range r.Servers {
		for i, round := range r.Rounds[name] {
			fail := func(format string, args ...any) {
				errs = append(errs, fmt.Errorf("%v, %s, round %d: %s", r.What, name, i+1, fmt.Sprintf(format, args...)))
			}
			if round.Failed != "" {
				fail("%s", round.Failed)
				continue
			}
			if sat := round.Saturation; sat.Load.Errors > 0 || sat.Load.Handshakes == 0 {
				fail("%s", failures(sat))
			}
			// What the client did not begin is no fault of the server's.
			if half := round.Half; half != nil && (half.Load.Errors > half.Load.NotBegun || half.Load.Handshakes == 0) {
				fail("at half its rate: %s", failures(&half.loadRound))
			}
		}
	}
	return errs
}

// failures describes the handshakes of a load that failed.
func failures(r *loadRound) string {
	text := fmt.Sprintf("%d handshakes failed, %d succeeded", r.Load.Errors, r.Load.Handshakes)
	if why := kinds(r.Load.ErrorsByKind, r.Load.ErrorExamples); why != "" {
		text += ": " + why
	}
	return text
}
