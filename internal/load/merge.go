package load

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// This file makes one result of several.

// MaxParts is the maximum number of results, and of machines, that are merged.
const MaxParts = 1000

// Part is a result to merge, and the name of the machine that made it.
type Part struct {
	Name   string
	Result *Result
}

// Merge makes one result of those of several runs that loaded the same servers at the
// same time, usually from several machines. Its percentiles are those of one run that
// saw all samples. Rates and counts are added, and so are the most connections at a time,
// though each machine may have reached its own at another moment.
//
// Merging merged results gives the same as merging all at once. Sweeps cannot be merged:
// each one chose its rates by itself, so that nobody knows which rates met at the server.
func Merge(parts []Part) (*Result, error) {
	if len(parts) == 0 || len(parts) > MaxParts {
		return nil, fmt.Errorf("%d results, 1 to %d can be merged", len(parts), MaxParts)
	}
	for _, p := range parts {
		if err := p.Result.mergeable(); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	machines := machinesOf(parts)
	if len(machines) > MaxParts {
		return nil, fmt.Errorf("the results of %d machines, at most %d can be merged", len(machines), MaxParts)
	}
	if err := refuseTwice(machines); err != nil {
		return nil, err
	}
	t, err := timesOf(machines)
	if err != nil {
		return nil, err
	}
	res := &Result{
		Schema: Schema, ErrorsByKind: map[string]int64{}, ErrorExamples: map[string]string{},
		MeasuredFrom: t.first.MeasuredFrom, Duration: t.whole.Seconds(),
		Machines: machines, Settings: settingsOf(machines), Environment: environmentOf(machines),
		Stopped: stoppedOf(machines), Warnings: warningsOf(machines, t),
	}
	if err := res.addLatencies(parts); err != nil {
		return nil, err
	}
	if res.Series, err = mergeSeries(parts, res.MeasuredFrom); err != nil {
		return nil, err
	}
	if res.Targets, err = mergeTargets(parts); err != nil {
		return nil, err
	}
	for _, p := range parts {
		res.addCounts(p.Result)
	}
	res.sortNegotiated()
	res.addMachines()
	if err := cmp.Or(checkNumbers(res), checkSeries(res.Series)); err != nil {
		return nil, fmt.Errorf("the sum of all: %w", err)
	}
	return res, nil
}

// farAway bounds the times of a result, and those between results, so that sums do not
// overflow.
const farAway = 366 * 24 * time.Hour

// mergeable returns an error if the result has not what a merge needs.
func (r *Result) mergeable() error {
	switch {
	case r.Schema < 2:
		return errors.New("an older tlsdemo made it, without the histograms that a merge needs; make it again with this one")
	case r.Sweep != nil:
		return errors.New("it is a sweep: each machine chose its rates by itself, so their steps cannot be added; find the knee with one machine, or run each rate on all machines with --rate")
	}
	if err := checkNumbers(r); err != nil {
		return err
	}
	if err := checkMeasured("", r.MeasuredFrom, r.Duration); err != nil {
		return err
	}
	for i, m := range r.Machines {
		if err := checkMeasured(fmt.Sprintf("machines[%d].", i), m.MeasuredFrom, m.Duration); err != nil {
			return err
		}
	}
	if err := checkSeries(r.Series); err != nil {
		return err
	}
	for s := range r.stored() {
		if s.Histogram == "" && s.count > 0 && !strings.HasPrefix(s.key, "targets") { // those may have none
			return fmt.Errorf("%s: it is missing", s.key)
		}
	}
	return nil
}

// checkMeasured checks when a measured part began and how long it was.
func checkMeasured(key string, from time.Time, duration float64) error {
	if from.Year() < 2000 || from.Year() > 2200 { // the nanoseconds since 1970 would overflow
		return fmt.Errorf("%smeasured_from: %v is no time of a run", key, from)
	}
	if duration > farAway.Seconds() {
		return fmt.Errorf("%sduration_s: %v is more than a year", key, duration)
	}
	return nil
}

// checkSeries checks when the intervals of a result were.
func checkSeries(points []Point) error {
	for i, p := range points {
		if p.At < -farAway.Seconds() || p.At > farAway.Seconds() || p.Length > farAway.Seconds() || p.Length <= 0 {
			return fmt.Errorf("series[%d]: an interval of %v s at %v s", i, p.Length, p.At)
		}
	}
	return nil
}

// addLatencies merges the histograms of all parts.
func (r *Result) addLatencies(parts []Part) error {
	sum, open := newLatencies(), false
	for _, p := range parts {
		l, err := p.Result.latencies()
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		sum.merge(&l)
		open = open || p.Result.StartDelay != nil
	}
	if n := sum.latency.TotalCount(); n > maxSamples {
		return fmt.Errorf("%d samples in all are more than %d", n, int64(maxSamples))
	}
	sum.describe(r, open)
	return nil
}

// addCounts adds what can be added without more ado.
func (r *Result) addCounts(o *Result) {
	r.Handshakes += o.Handshakes
	r.Errors += o.Errors
	r.NotBegun += o.NotBegun
	r.BytesRead += o.BytesRead
	r.BytesWritten += o.BytesWritten
	r.MaxInFlight += o.MaxInFlight
	r.Held += o.Held
	r.Aborted = addPhases(r.Aborted, o.Aborted)
	r.Total.add(o.Total)
	addTo(r.ErrorsByKind, o.ErrorsByKind)
	addExamples(r.ErrorExamples, o.ErrorExamples)
	r.Negotiated = append(r.Negotiated, o.Negotiated...)
	r.Certificates = append(r.Certificates, o.Certificates...)
	if r.Started.IsZero() || o.Started.Before(r.Started) {
		r.Started = o.Started
	}
}

// addMachines adds up the rates of the machines and what their clients used. The result
// names the greatest use of a client's threads and of memory, since the machine that is
// nearest to its limits decides whether the figures can be trusted.
func (r *Result) addMachines() {
	done := 0.0 // handshakes that ended in the measured parts
	c := &r.Client
	for _, m := range r.Machines {
		r.HandshakesPer += m.HandshakesPer
		done += m.HandshakesPer * m.Duration
		c.CPU += m.Client.CPU
		c.Loops += m.Client.Loops
		c.Busy = max(c.Busy, m.Client.Busy)
		c.MaxRSS = max(c.MaxRSS, m.Client.MaxRSS)
	}
	if r.Handshakes > 0 {
		c.CPUPerHandshake = c.CPU * 1e6 / max(done, 1)
	}
}
