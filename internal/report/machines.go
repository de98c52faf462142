package report

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// This file says with what and on which machines a run was made.

// fact is a line at the top of a run.
type fact struct {
	Label, Text string
	Words       []string // instead of Text, of a command; lines are broken only between them
}

// facts says when, with what, how and where a run was made. What the result does not say
// is left out.
func facts(r *load.Result) []fact {
	var out []fact
	add := func(label, text string) {
		if text != "" {
			out = append(out, fact{Label: label, Text: text})
		}
	}
	if !r.Started.IsZero() {
		add("Started", r.Started.UTC().Format(time.DateTime+" UTC"))
	}
	if tool := cmp.Or(r.Environment.Version, r.Environment.Commit); tool != "" {
		add("Tool", "tlsdemo "+tool)
	}
	if r.Settings.Command != "" {
		out = append(out, fact{Label: "Command", Words: strings.Split(r.Settings.Command, " ")})
	}
	if n := len(r.Machines); n > 0 {
		add("Client", fmt.Sprintf("%d machines, see below", n))
	} else {
		add("Client", client(r.Environment))
	}
	if len(r.Targets) > 0 {
		add("Server", server(r))
	}
	return out
}

// client describes the machine that a result is from.
func client(e load.Environment) string {
	cores := ""
	if e.Cores > 0 {
		cores = plural(e.Cores, "core")
	}
	return list(e.Host, e.CPU, cores, cmp.Or(e.Kernel, e.OS), e.Arch)
}

// server describes the server's machine.
func server(r *load.Result) string {
	switch {
	case r.Environment.Server != "":
		return r.Environment.Server
	case len(r.Machines) == 0 && onThisMachine(r.Targets):
		return "on the same machine"
	}
	return "not known; load's --server records it"
}

// onThisMachine reports whether all targets are loopback addresses or Unix sockets.
func onThisMachine(targets []load.Target) bool {
	return len(targets) > 0 && !slices.ContainsFunc(targets, func(t load.Target) bool {
		address := cmp.Or(t.Address, t.Target)
		if strings.HasPrefix(address, "unix:") {
			return false
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return true
		}
		ip, err := netip.ParseAddr(host)
		return !(host == "localhost" || err == nil && ip.Unmap().IsLoopback())
	})
}

// list joins what is not empty.
func list(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(int64(n)) + " " + noun + "s"
}

// environment returns the properties of the client and the machines, by name.
func environment(r *load.Result) [][2]string {
	e := r.Environment
	cores := ""
	if e.Cores > 0 {
		cores = fmt.Sprint(e.Cores)
	}
	return [][2]string{
		{"CPU", e.CPU}, {"Cores", cores}, {"Kernel", e.Kernel}, {"Host", e.Host}, {"System", strings.Trim(e.OS+"/"+e.Arch, "/")},
		{"Go", e.Go}, {"Commit", e.Commit}, {"tlsdemo", e.Version},
	}
}

func environmentTable(r *load.Result) table {
	t := table{Title: "Environment", Narrow: true, Head: heads("Of the client", "")}
	for _, kv := range environment(r) {
		if kv[1] != "" {
			t.add(text(kv[0]), text(kv[1]))
		}
	}
	return t
}

// machinesTable shows the parts of a merged result beside each other. Their warnings are
// among those of the result.
func machinesTable(r *load.Result) table {
	t := table{Title: "Machines side by side", Head: heads("Name", ">start", ">handshakes", ">rate", ">errors",
		">p50", ">p99", ">max", ">client busy", "host", "CPU", "kernel")}
	if len(r.Machines) == 0 {
		return t
	}
	first := slices.MinFunc(r.Machines, func(a, b load.Machine) int { return a.Started.Compare(b.Started) }).Started
	for _, m := range r.Machines {
		e, l := m.Environment, m.Latency
		busy := num(percent(m.Client.Busy, 1))
		if m.Client.Busy >= load.BusyLimit {
			busy.Class = "doubt"
		}
		errors := counted(m.Errors)
		if m.Errors > 0 {
			errors.Class = "bad"
		}
		t.add(text(m.Name), num(startAfter(first, m.Started)), counted(m.Handshakes), num(perSecond(m.HandshakesPer)), errors,
			percentileCell(l, 50, l.P50), percentileCell(l, 99, l.P99), num(latency(l, l.Max).String()), busy,
			text(e.Host), text(e.CPU), text(cmp.Or(e.Kernel, e.OS)))
	}
	t.Note = "Start counts from the first of them, by their own clocks."
	return t
}

// startAfter says how much later than the first a machine began.
func startAfter(first, start time.Time) string {
	if first.IsZero() || start.IsZero() {
		return none
	}
	if start.Equal(first) {
		return "first"
	}
	return "+" + micros(float64(start.Sub(first).Microseconds())).String()
}
