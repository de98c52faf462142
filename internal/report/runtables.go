package report

import (
	"maps"
	"slices"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the tables of one run, in the order in which the page shows them.

func percentileCells(p load.Percentiles) []cell {
	at := func(us int64) cell { return num(latency(p, us).String()) }
	return []cell{counted(p.Count), at(p.Min), percentileCell(p, 50, p.P50), percentileCell(p, 90, p.P90),
		percentileCell(p, 99, p.P99), percentileCell(p, 99.9, p.P999), at(p.Max), at(p.Mean)}
}

func phasesTable(r *load.Result) table {
	t := table{Title: "Where the time went", Head: heads("Part", ">count", ">min", ">p50", ">p90", ">p99", ">p99.9", ">max", ">mean")}
	row := func(name string, p *load.Percentiles) {
		if p != nil {
			t.add(append([]cell{text(name)}, percentileCells(*p)...)...)
		}
	}
	row("Start delay", r.StartDelay)
	row("TCP connect", &r.Phases.Connect)
	row("TLS handshake", &r.Phases.TLS)
	row("First byte of the answer", r.Phases.FirstByte)
	row("Latency, in all", &r.Latency)
	row("Clients that gave up, after", r.GaveUpAfter)
	row("Holds that the server ended, after", r.HeldEndedAfter)
	if r.StartDelay != nil {
		t.Note = "Latency counts from the time a handshake was due. Start delay is how late the client began it."
	}
	return t
}

func errorsTable(r *load.Result) table {
	t := table{Title: "Errors", Head: heads("Kind", ">count", ">of all", "for example")}
	for _, k := range load.SortedKinds(r.ErrorsByKind) {
		t.add(text(k), counted(r.ErrorsByKind[k]), num(percent(float64(r.ErrorsByKind[k]), float64(r.Errors+r.Handshakes))), text(r.ErrorExamples[k]))
	}
	return t
}

func negotiatedTable(r *load.Result) table {
	t := table{Title: "What was negotiated", Head: heads("Version", "cipher suite", "key exchange", "ALPN", "session", ">handshakes", ">of all")}
	for _, n := range byHandshakes(r.Negotiated, func(n load.Negotiated) int64 { return n.Handshakes }) {
		session := "new"
		if n.Resumed {
			session = "resumed"
		}
		t.add(text(n.Version), text(n.Cipher), text(n.Curve), text(n.ALPN), text(session), counted(n.Handshakes), num(percent(float64(n.Handshakes), float64(r.Handshakes))))
	}
	return t
}

func certificatesTable(r *load.Result) table {
	t := table{Title: "Certificates", Head: heads("Subject", "key", "SHA-256", ">handshakes")}
	for _, c := range byHandshakes(r.Certificates, func(c load.Certificate) int64 { return c.Handshakes }) {
		sum := text(c.SHA256)
		sum.Class = "code"
		t.add(text(c.Subject), text(c.Key), sum, counted(c.Handshakes))
	}
	return t
}

func targetsTable(r *load.Result) table {
	t := table{Title: "Targets", Head: heads("Target", "address", ">handshakes", ">errors", ">p50", ">p99", ">max")}
	for _, g := range r.Targets {
		l := g.Latency // older results have none
		t.add(text(g.Target), text(g.Address), counted(g.Handshakes), counted(g.Errors),
			percentileCell(l, 50, l.P50), percentileCell(l, 99, l.P99), num(latency(l, l.Max).String()))
	}
	return t
}

func totalsTable(r *load.Result) table {
	t := table{Title: "Totals", Narrow: true, Head: heads("In the whole run, not only the measured part", ">count"),
		Note: "Compare these with the server's own counters."}
	row := func(name string, n int64) { t.add(text(name), counted(n)) }
	row("Connections begun", r.Total.Begun)
	row("TLS handshakes completed", r.Total.Handshakes)
	row("of these resumed", r.Total.Resumed)
	row("Requests answered", r.Total.Requests)
	row("Errors", r.Total.Errors)
	if r.Total.GaveUp > 0 {
		row("of these, clients that gave up", r.Total.GaveUp)
	}
	for _, phase := range load.SortedKinds(r.Total.Aborted) {
		row("Clients that aborted, "+phase, r.Total.Aborted[phase])
	}
	row("Cut off at the end", r.Total.Canceled)
	if r.Total.OldestCanceled > 0 {
		t.add(text("age of the oldest of these"), num(micros(float64(r.Total.OldestCanceled)).String()))
	}
	row("Probes before the start", r.Total.Probes)
	return t
}

func clientTable(r *load.Result) table {
	t := table{Title: "Client", Narrow: true, Head: heads("This program, in the measured part", ">")}
	t.add(text("CPU time"), num(micros(r.Client.CPU*1e6).String()))
	t.add(text("Busy"), num(percent(r.Client.Busy, 1)))
	t.add(text("Loops"), counted(int64(r.Client.Loops)))
	t.add(text("Connections at a time, maximum"), counted(int64(r.MaxInFlight)))
	if r.Held > 0 {
		t.add(text("Connections held open"), counted(r.Held))
	}
	t.add(text("Memory, maximum since its start"), num(size(float64(r.Client.MaxRSS))))
	for _, traffic := range []struct {
		name string
		n    int64
	}{{"Read", r.BytesRead}, {"Written", r.BytesWritten}} {
		c := num(size(float64(traffic.n)))
		if r.Handshakes > 0 {
			c.Sub = size(float64(traffic.n)/float64(r.Handshakes)) + " each"
		}
		t.add(text(traffic.name), c)
	}
	return t
}

func settingsTable(r *load.Result) table {
	t := table{Title: "Settings", Narrow: true, Head: heads("Flag", "value")}
	for _, name := range slices.Sorted(maps.Keys(r.Settings.Flags)) {
		t.add(text(name), text(r.Settings.Flags[name]))
	}
	return t
}

// sweepTable returns the steps of a sweep; nil if the run was no sweep.
func sweepTable(id string, r *load.Result) *table {
	if r.Sweep == nil {
		return nil
	}
	t := table{ID: id + idSweep, Title: "Steps", Head: heads(">Rate asked for", ">achieved", ">errors", ">p50", ">p99", ">max", ">client busy", "kept up")}
	knee := false
	for _, s := range byRate(r.Sweep) {
		kept := text("yes")
		if !s.KeptUp {
			kept = cell{Text: "no", Sub: s.Why, Class: "bad"}
		}
		first := cell{Text: measured(s.Rate) + "\u00a0/s", Num: true}
		if s.KeptUp && s.Rate == r.Sweep.Knee && !knee {
			knee, first.Sub, first.Class = true, "knee", "strong"
		}
		l := s.Latency
		t.addAt(s.Rate, first, num(measured(s.HandshakesPer)+"\u00a0/s"), counted(s.Errors),
			percentileCell(l, 50, l.P50), percentileCell(l, 99, l.P99), num(latency(l, l.Max).String()),
			num(percent(s.ClientBusy, 1)), kept)
	}
	t.cut()
	return &t
}
