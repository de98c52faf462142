//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file measures a server under one load, with clients of one patience.

// overloadCell is what was found out with one load and patience.
type overloadCell struct {
	loadRound
	Factor      float64            `json:"times_capacity"` // 0: capacity itself
	Patience    string             `json:"patience,omitempty"`
	Asked       float64            `json:"rate_asked_per_s,omitempty"`
	Before      float64            `json:"capacity_before_per_s,omitempty"` // what the load is a multiple of
	After       float64            `json:"capacity_after_per_s,omitempty"`
	Capacity    float64            `json:"capacity_per_s"` // the mean of both
	PeakRSS     int64              `json:"peak_rss_bytes"`
	Echo        *probeResult       `json:"echo,omitempty"`
	EchoFailed  string             `json:"echo_failed,omitempty"`   // why there is none
	ServerCount map[string]float64 `json:"server_counts,omitempty"` // its own, with the warm-up; ours only
}

// share is what was served, in percent of the capacity.
func (c *overloadCell) share() float64 { return 100 * c.rate() / c.Capacity }

// errors is the share of clients that were not served for a reason, in percent.
// Reasons that are none of those named are all others.
func (c *overloadCell) errors(kind string) float64 {
	n := c.Load.ErrorsByKind[kind]
	return 100 * float64(n) / float64(c.Load.Errors+c.Load.Handshakes)
}

// otherErrors is the share of those that failed neither of impatience nor by a
// reset.
func (c *overloadCell) otherErrors() float64 {
	n := c.Load.Errors - c.Load.ErrorsByKind["gave up"] - c.Load.ErrorsByKind["reset"]
	return 100 * float64(n) / float64(c.Load.Errors+c.Load.Handshakes)
}

// echo is a time of the connection that was there before, in milliseconds.
func (c *overloadCell) echo(of func(*probeResult) time.Duration) float64 { return echoTime(c.Echo, of) }

func echoTime(p *probeResult, of func(*probeResult) time.Duration) float64 {
	if p == nil {
		return math.NaN()
	}
	return of(p).Seconds() * 1e3
}

func echoP50(p *probeResult) time.Duration { return p.P50 }
func echoP99(p *probeResult) time.Duration { return p.P99 }

// lateLimit is how late half of the served clients may have been begun at most.
const lateLimit = 20 * time.Millisecond

// clientLimited says whether the client did not offer the load it was to.
func (c *overloadCell) clientLimited() bool {
	return c.clientFull() || c.Load.NotBegun > 0 ||
		c.Load.StartDelay != nil && time.Duration(c.Load.StartDelay.P50)*time.Microsecond > lateLimit
}

// overloadMeasurer measures one server after another.
type overloadMeasurer struct {
	*overload
	keys *keys
	same agreement
}

// round measures a server once in all ways that were asked for.
func (m *overloadMeasurer) round(ctx context.Context, c contender) (*overloadRound, error) {
	round := new(overloadRound)
	var err error
	if round.Capacity, err = m.capacity(ctx, c); err != nil {
		return round, err
	}
	for _, p := range m.Patience {
		if m.Burst {
			progress("%v: a burst, patience %v", c, p)
			cell, err := m.measureBurst(ctx, c, p, round.Capacity.Capacity)
			if err != nil {
				return round, err
			}
			round.Bursts = append(round.Bursts, cell)
			continue
		}
		for _, factor := range m.Loads {
			progress("%v: %v times its capacity, patience %v", c, factor, p)
			cell, err := m.cell(ctx, c, p, factor)
			if err != nil {
				return round, fmt.Errorf("%v times the capacity, patience %v: %w", factor, p, err)
			}
			round.Cells = append(round.Cells, cell)
		}
	}
	return round, nil
}

// capacity measures what clients get that are not too many.
func (m *overloadMeasurer) capacity(ctx context.Context, c contender) (*overloadCell, error) {
	cell := new(overloadCell)
	err := m.with(ctx, c, func(s *server, cert *certificate) error {
		return m.measure(ctx, s, cert, cell, m.short(2*time.Second), m.short(5*time.Second), closedArgs...)
	})
	if cell.Capacity = cell.rate(); err == nil && (cell.Capacity == 0 || cell.Load.Errors > 0) {
		err = errors.New(failures(&cell.loadRound))
	}
	if err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	return cell, nil
}

// short is a time, or less if that is to be quick.
func (m *overloadMeasurer) short(d time.Duration) time.Duration { return min(d, m.Duration) }

// cell measures one load with clients of one patience. The machine is not always
// as fast: the load is a multiple of the server's capacity just before, and what
// was served is a share of that and of the capacity afterwards.
func (m *overloadMeasurer) cell(ctx context.Context, c contender, p load.Patience, factor float64) (*overloadCell, error) {
	cell := &overloadCell{Factor: factor, Patience: p.String()}
	warmup := m.Warmup
	if !m.Quick {
		warmup = max(warmup, p.Max*5/2)
	}
	return cell, m.with(ctx, c, func(s *server, cert *certificate) error {
		var err error
		if cell.Before, err = m.rate(ctx, s, time.Second); err != nil {
			return err
		}
		cell.Asked = factor * cell.Before
		before := serverCountsNow(ctx, s)
		if err := m.measure(ctx, s, cert, cell, warmup, m.Duration, openArgs(cell.Asked, p)...); err != nil {
			return err
		}
		for name := range cell.ServerCount {
			cell.ServerCount[name] -= before[name]
		}
		// The queue may be full of those who have left.
		if cell.After, err = m.rate(ctx, s, 5*time.Second); err != nil {
			return err
		}
		cell.Capacity = (cell.Before + cell.After) / 2
		return nil
	})
}

// rate measures what clients get a second that are not too many.
func (m *overloadMeasurer) rate(ctx context.Context, s *server, warmup time.Duration) (float64, error) {
	r, err := m.loadAndWatch(ctx, m.program, s, m.clientArgs(s, m.short(warmup), m.short(3*time.Second), closedArgs...)...)
	if err != nil {
		return 0, err
	}
	if r.rate() == 0 {
		return 0, fmt.Errorf("capacity: %s", failures(r))
	}
	return r.rate(), nil
}

// closedArgs are the arguments of a closed loop.
var closedArgs = []string{"--connections", strconv.Itoa(capacityClients)}

// sources are the addresses that the clients of an open loop connect from. Those
// that gave up leave their port in use for a while.
var sources = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}

// maxOpen is how many connections at a time the client of an open loop may have.
func maxOpen() int { return min(openConnections, load.MaxConnections()) }

// openArgs are the arguments of an open loop with patience.
func openArgs(rate float64, p load.Patience) []string {
	return []string{
		"--rate", strconv.FormatFloat(rate, 'f', 1, 64), "--connections", strconv.Itoa(maxOpen()),
		"--patience", p.String(), "--timeout", max(handshakeTimeout, 2*p.Max).String(), "--source", strings.Join(sources, ","),
	}
}

// clientArgs are the arguments of every load.
func (m *overloadMeasurer) clientArgs(s *server, warmup, duration time.Duration, args ...string) []string {
	args = append(append(m.what().args(), args...), "--request", "/", "--reset", "--warmup", warmup.String(), "--duration", duration.String())
	return append(args, s.addr)
}

// measure measures one load and the connection that was there before.
func (m *overloadMeasurer) measure(ctx context.Context, s *server, cert *certificate, cell *overloadCell, warmup, duration time.Duration, args ...string) error {
	echo, err := m.startEcho(ctx, s, warmup, duration)
	if err != nil {
		return err
	}
	r, err := m.loadAndWatch(ctx, m.program, s, m.clientArgs(s, warmup, duration, args...)...)
	if err != nil {
		echo.kill()
		return err
	}
	cell.loadRound = *r
	cell.Echo, cell.EchoFailed = echo.result()
	if cell.PeakRSS, err = bench.PeakRSS(s.pid()); err != nil {
		return err
	}
	cell.ServerCount = serverCountsNow(ctx, s)
	err = m.same.check(s.name, m.what(), r.Load, cert)
	r.Load.Series, r.Load.Distribution = nil, nil // many, and no part of the report
	return err
}

// with starts a server with a certificate of its own, and stops it afterwards.
func (m *overloadMeasurer) with(ctx context.Context, c contender, f func(*server, *certificate) error) error {
	cert, err := m.keys.certificate()
	if err != nil {
		return err
	}
	opts := serverOptions{cert: cert, cpu: m.ServerCPU, idleTimeout: time.Minute, metrics: engines[c.name] != ""}
	return c.with(ctx, opts, func(s *server) error { return f(s, cert) })
}

// serverCountsNow reads those of our server's counters that tell what became of
// connections: all that it has of them, by name. That they cannot be read is no
// reason to lose what was measured.
func serverCountsNow(ctx context.Context, s *server) map[string]float64 {
	if s.metrics == "" {
		return nil
	}
	all, err := scrape(ctx, s.metrics)
	if err != nil {
		progress("%s: its counters: %v", s.name, err)
		return nil
	}
	return connectionCounts(all)
}

// connectionCounts picks the counters that tell what became of connections.
func connectionCounts(all map[string]float64) map[string]float64 {
	counts := make(map[string]float64)
	for name, v := range all {
		switch name {
		case "jobloop_accepted_total", "jobloop_gone_total", "jobloop_shed_total", "jobloop_refused_total", "jobloop_backlog_drops_total":
			counts[name] = v
		}
		if strings.HasPrefix(name, "tlsdemo_handshakes_total{") { // by result
			counts[name] = v
		}
	}
	return counts
}
