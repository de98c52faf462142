package load

import (
	"fmt"
	"time"
)

// This file has the machines of a merged result, and how their times lie together.

// machinesOf returns the machines of all parts. No two have the same name.
func machinesOf(parts []Part) []Machine {
	var machines []Machine
	var from []string // the part of each machine
	count := make(map[string]int)
	for _, p := range parts {
		of := p.Result.Machines
		if len(of) == 0 {
			of = []Machine{machineOf(p)}
		}
		for _, m := range of {
			machines, from = append(machines, m), append(from, p.Name)
			count[m.Name]++
		}
	}
	taken := make(map[string]bool)
	for i := range machines {
		m := &machines[i]
		if count[m.Name] > 1 && m.Name != from[i] {
			m.Name = from[i] + "/" + m.Name
		}
		name := m.Name
		for n := 2; taken[m.Name]; n++ {
			m.Name = fmt.Sprintf("%s (%d)", name, n)
		}
		taken[m.Name] = true
	}
	return machines
}

func machineOf(p Part) Machine {
	r := p.Result
	m := Machine{
		Name: p.Name, Targets: []string{}, Started: r.Started, MeasuredFrom: r.MeasuredFrom, Duration: r.Duration,
		Handshakes: r.Handshakes, Errors: r.Errors, HandshakesPer: r.HandshakesPer, Latency: r.Latency,
		Client: r.Client, Stopped: r.Stopped, Warnings: r.Warnings, Unmet: r.Unmet, Settings: r.Settings, Environment: r.Environment,
	}
	for _, t := range r.Targets {
		m.Targets = append(m.Targets, t.Target)
	}
	return m
}

// refuseTwice returns an error if a run is among the machines twice.
func refuseTwice(machines []Machine) error {
	type identity struct {
		host, command string
		started       int64
	}
	names := make(map[identity]string)
	for _, m := range machines {
		id := identity{m.Environment.Host, m.Settings.Command, m.Started.UnixNano()}
		if first, ok := names[id]; ok {
			return fmt.Errorf("%s and %s are the same run: of %q on %s at %v; leave one out",
				first, m.Name, id.command, id.host, m.Started.UTC().Format(time.RFC3339Nano))
		}
		names[id] = m.Name
	}
	return nil
}

// times says how the measured parts of machines lie together. Machines that measured
// nothing have no part in it.
type times struct {
	first, last   *Machine // to begin
	earliest      *Machine // to end
	whole, common time.Duration
}

func (m *Machine) measuredUntil() time.Time { return m.MeasuredFrom.Add(seconds(m.Duration)) }

func timesOf(machines []Machine) (times, error) {
	var measured []*Machine // those that measured something; if none did, the first
	for i := range machines {
		if machines[i].Duration > 0 {
			measured = append(measured, &machines[i])
		}
	}
	if len(measured) == 0 {
		measured = append(measured, &machines[0])
	}
	t := times{first: measured[0], last: measured[0], earliest: measured[0]}
	latest := measured[0] // to end
	for _, m := range measured {
		if m.MeasuredFrom.Before(t.first.MeasuredFrom) {
			t.first = m
		}
		if m.MeasuredFrom.After(t.last.MeasuredFrom) {
			t.last = m
		}
		if m.measuredUntil().Before(t.earliest.measuredUntil()) {
			t.earliest = m
		}
		if m.measuredUntil().After(latest.measuredUntil()) {
			latest = m
		}
	}
	if d := t.last.MeasuredFrom.Sub(t.first.MeasuredFrom); d > farAway {
		return times{}, fmt.Errorf("%s was measured more than a year after %s: they are not of one test", t.last.Name, t.first.Name)
	}
	t.whole = latest.measuredUntil().Sub(t.first.MeasuredFrom)
	t.common = max(t.earliest.measuredUntil().Sub(t.last.MeasuredFrom), 0)
	return t, nil
}
