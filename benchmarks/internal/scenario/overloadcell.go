//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/load"
)

// This file measures a server under one load, with clients of one patience.

// overloadCell is what was found out with one load and patience.
type overloadCell struct {
	client.Loaded
	Factor   float64 `json:"times_capacity"` // 0: capacity itself
	Patience string  `json:"patience,omitempty"`
	Asked    float64 `json:"rate_asked_per_s,omitempty"`
	Before   float64 `json:"capacity_before_per_s,omitempty"` // what the load is a multiple of
	After    float64 `json:"capacity_after_per_s,omitempty"`
	Capacity float64 `json:"capacity_per_s"` // the mean of both
	aftermath
}

// aftermath is what is looked at when a load is over.
type aftermath struct {
	PeakRSS     int64               `json:"peak_rss_bytes"`
	Echo        *client.ProbeResult `json:"echo,omitempty"`          // of the connection that was there before
	EchoFailed  string              `json:"echo_failed,omitempty"`   // why there is none
	ServerCount map[string]float64  `json:"server_counts,omitempty"` // its own, with the warm-up; ours only
}

func (a *aftermath) take(ctx context.Context, s *peer.Server, echo *client.Probing) (err error) {
	a.Echo, a.EchoFailed = echo.Result()
	a.PeakRSS, err = process.PeakRSS(s.PID())
	a.ServerCount = serverCounts(ctx, s)
	return err
}

// share is what was served, in percent of the capacity.
func (c *overloadCell) share() float64 { return 100 * c.Rate() / c.Capacity }

// failed is the share of clients that were not served for this reason, in percent.
func (c *overloadCell) failed(kind string) float64 {
	return 100 * float64(c.Load.ErrorsByKind[kind]) / float64(c.Load.Errors+c.Load.Handshakes)
}

// otherErrors is the share of those that neither gave up nor were reset.
func (c *overloadCell) otherErrors() float64 {
	r := c.Load
	return 100 * float64(r.Errors-r.ErrorsByKind["gave up"]-r.ErrorsByKind["reset"]) / float64(r.Errors+r.Handshakes)
}

// served is the share of a load's clients that were, in percent.
func served(r *load.Result) float64 {
	return 100 * float64(r.Handshakes) / float64(r.Handshakes+r.Errors)
}

// lateLimit is how late half of the served clients may have been begun at most.
const lateLimit = 20 * time.Millisecond

// clientLimited says whether a client did not offer the load it was to.
func clientLimited(r *load.Result) bool {
	return r.Client.Busy >= load.BusyLimit || r.NotBegun > 0 ||
		r.StartDelay != nil && time.Duration(r.StartDelay.P50)*time.Microsecond > lateLimit
}

func (c *overloadCell) clientLimited() bool { return clientLimited(c.Load) }

// overloadMeasurer measures one server after another.
type overloadMeasurer struct {
	*overload
	run   *run
	burst burstTimes
}

// round measures a server once in all ways that were asked for.
func (m *overloadMeasurer) round(ctx context.Context, s peer.Peer) (*overloadRound, error) {
	round := new(overloadRound)
	var err error
	if round.Capacity, err = m.capacity(ctx, s); err != nil {
		return round, err
	}
	for _, p := range m.Patience {
		if m.Burst {
			process.Progress("%s: a burst, patience %v", s.Name(), p)
			cell, err := m.measureBurst(ctx, s, p, round.Capacity.Capacity)
			if err != nil {
				return round, err
			}
			round.Bursts = append(round.Bursts, cell)
			continue
		}
		for _, factor := range m.Loads {
			process.Progress("%s: %v times its capacity, patience %v", s.Name(), factor, p)
			cell, err := m.cell(ctx, s, p, factor)
			if err != nil {
				return round, fmt.Errorf("%v times the capacity, patience %v: %w", factor, p, err)
			}
			round.Cells = append(round.Cells, cell)
		}
	}
	return round, nil
}

// capacity measures the rate that clients get when they are not too many.
func (m *overloadMeasurer) capacity(ctx context.Context, p peer.Peer) (cell *overloadCell, _ error) {
	err := m.with(ctx, p, func(s *peer.Server) (err error) {
		if cell, err = m.one(ctx, s, m.short(2*time.Second), m.short(5*time.Second), closedArgs...); err != nil {
			return err
		}
		if cell.Capacity = cell.Rate(); cell.Capacity == 0 || cell.Load.Errors > 0 {
			return errors.New(failures(cell.Load))
		}
		return nil
	})
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
func (m *overloadMeasurer) cell(ctx context.Context, p peer.Peer, patience load.Times, factor float64) (*overloadCell, error) {
	warmup := m.Warmup
	if !m.run.Quick {
		warmup = max(warmup, patience.Max*5/2)
	}
	var cell *overloadCell
	err := m.with(ctx, p, func(s *peer.Server) error {
		before, err := m.rate(ctx, s, time.Second)
		if err != nil {
			return err
		}
		counts := serverCounts(ctx, s)
		if cell, err = m.one(ctx, s, warmup, m.Duration, openArgs(factor*before, patience)...); err != nil {
			return err
		}
		for name := range cell.ServerCount {
			cell.ServerCount[name] -= counts[name]
		}
		// The queue may be full of those who have left.
		after, err := m.rate(ctx, s, 5*time.Second)
		if err != nil {
			return err
		}
		cell.Factor, cell.Patience, cell.Asked = factor, patience.String(), factor*before
		cell.Before, cell.After, cell.Capacity = before, after, (before+after)/2
		return nil
	})
	return cell, err // read after the call: Go does not say in which order operands are evaluated
}

// rate measures what clients get a second that are not too many.
func (m *overloadMeasurer) rate(ctx context.Context, s *peer.Server, warmup time.Duration) (float64, error) {
	r, err := m.run.client.RunWatched(ctx, s.Watch(), m.clientArgs(s, m.short(warmup), m.short(3*time.Second), closedArgs...)...)
	if err != nil {
		return 0, err
	}
	if r.Rate() == 0 {
		return 0, fmt.Errorf("capacity: %s", failures(r.Load))
	}
	return r.Rate(), nil
}

// closedArgs are the arguments of a closed loop.
var closedArgs = []string{"--connections", strconv.Itoa(capacityClients)}

// sources are the addresses that the clients of an open loop connect from. One is
// not enough, because clients that gave up leave their port in use for a while.
var sources = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}

// openArgs are the arguments of an open loop with patience.
func openArgs(rate float64, p load.Times) []string {
	return []string{
		"--rate", strconv.FormatFloat(rate, 'f', 1, 64), "--connections", strconv.Itoa(maxOpen()),
		"--patience", p.String(), "--timeout", max(peer.DefaultTimeout, 2*p.Max).String(), "--source", strings.Join(sources, ","),
	}
}

// clientArgs are the arguments of every load.
func (m *overloadMeasurer) clientArgs(s *peer.Server, warmup, duration time.Duration, args ...string) []string {
	args = append(append(client.Full(m.Key).Args(), args...), "--request", "/", "--reset", "--warmup", warmup.String(), "--duration", duration.String())
	return append(args, s.Addr)
}

// probeInterval is the time between two requests of the connection that was there
// before.
const probeInterval = 10 * time.Millisecond

// startProbe starts the connection that is there before the load, and returns when
// it is.
func (m *overloadMeasurer) startProbe(ctx context.Context, s *peer.Server, warmup, duration time.Duration) (*client.Probing, error) {
	return client.StartProbe(ctx, m.run.ClientCPU, client.Probe{Addr: s.Addr, Interval: probeInterval, Warmup: warmup, Duration: duration})
}

// one measures one load and the connection that was there before.
func (m *overloadMeasurer) one(ctx context.Context, s *peer.Server, warmup, duration time.Duration, args ...string) (*overloadCell, error) {
	echo, err := m.startProbe(ctx, s, warmup, duration)
	if err != nil {
		return nil, err
	}
	r, err := m.run.client.RunWatched(ctx, s.Watch(), m.clientArgs(s, warmup, duration, args...)...)
	if err != nil {
		echo.Kill()
		return nil, err
	}
	r.Trim()
	cell := &overloadCell{Loaded: *r}
	return cell, errors.Join(cell.take(ctx, s, echo), m.run.check(s, client.Full(m.Key), r.Load))
}

// with starts a server for f, and stops it afterwards.
func (m *overloadMeasurer) with(ctx context.Context, p peer.Peer, f func(*peer.Server) error) error {
	return m.run.with(ctx, p, m.Key, peer.Options{Metrics: p.Ours()}, f)
}

// serverCounts reads those of our server's counters that tell what became of
// connections. If they cannot be read, what was measured is not lost: there are just
// no counters.
func serverCounts(ctx context.Context, s *peer.Server) map[string]float64 {
	if s.Metrics == "" {
		return nil
	}
	all, err := peer.Scrape(ctx, s.Metrics)
	if err != nil {
		process.Progress("%s: its counters: %v", s.Name, err)
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
		// By result. The second is the name in older builds given as --tlsdemo.
		if strings.HasPrefix(name, "jobloop_handshakes_total{") || strings.HasPrefix(name, "tlsdemo_handshakes_total{") {
			counts[name] = v
		}
	}
	return counts
}
