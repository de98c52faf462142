//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "overload", Title: "Overload", Help: "More clients than a server can serve, who leave when their patience is up.",
		New: func() Scenario { return new(overload) }, Loads: true,
	})
}

// overload measures servers that are asked for more than they can do, by clients
// that leave when their patience is up. (The scenario storm is of many who ask at
// once, and then nobody.)
//
// This file is its flags and its notes. overloadcell.go measures, overloadburst.go
// looks how a server recovers, overloadtables.go has the tables and warnings.
type overload struct {
	Key      string        `enum:"${keys}" default:"rsa2048" help:"The servers' key: ${enum}. Where the client's core is the limit, a slower key makes the server slower."`
	Patience []load.Times  `default:"500ms,1s,2s,4s" help:"How long clients wait before they leave: times, or ranges such as 500ms-4s (default ${default})."`
	Loads    []float64     `default:"1.5,2,5,10" help:"How many clients come a second, as multiples of the server's capacity."`
	Burst    bool          `help:"Instead of steady loads: half of the capacity, five times as much for 5s, and half again. How long does the server need to recover?"`
	Rounds   int           `default:"1" min:"1" help:"Rounds; in each, every server is measured once with every load and patience."`
	Warmup   time.Duration `default:"10s" min:"0s" help:"Load before what is measured: overload is steady only when the first of those that are not served have left."`
	Duration time.Duration `default:"10s" min:"1ns" help:"How long each load is measured."`
	Servers  []string      `enum:"${https}" default:"jobloop,jobloop-multibuffer,goroutines,nethttp,nginx,nginx-backlog64,haproxy,haproxy-maxconn128" help:"What to measure: any of ${enum}."`
}

// capacityClients is how many clients at a time find out a server's capacity.
const capacityClients = 64

// overloadRound is what was found out about one server in one round.
type overloadRound struct {
	Capacity *overloadCell   `json:"capacity"`
	Cells    []*overloadCell `json:"cells,omitempty"`
	Bursts   []*burstCell    `json:"bursts,omitempty"`
}

func (o *overload) quick() {
	o.Rounds, o.Duration, o.Warmup = 1, time.Second, time.Second
	o.Servers, o.Patience, o.Loads = o.Servers[:1], o.Patience[:1], []float64{2}
}

func (o *overload) check() error {
	var errs []error
	for _, l := range o.Loads {
		if !(l > 0) || math.IsInf(l, 1) {
			errs = append(errs, fmt.Errorf("--loads: %v times the capacity", l))
		}
	}
	return errors.Join(errs...)
}

func (o *overload) measure(ctx context.Context, r *run) error {
	peers, err := r.peers(o.Servers, o.Key)
	if err != nil {
		return err
	}
	m := &overloadMeasurer{o, r, usualBurst}
	if r.Quick {
		m.burst = quickBurst
	}
	results := make(map[string][]*overloadRound)
	failed := rounds(ctx, o.Rounds, peers, func(p peer.Peer) error {
		round, err := m.round(ctx, p)
		if round.Capacity != nil { // what was measured before it failed
			results[p.Name()] = append(results[p.Name()], round)
		}
		return err
	})
	if len(results) == 0 {
		return failed
	}
	names := namesOf(peers)
	r.Results = results
	r.Add(capacityTable(names, results))
	for _, p := range o.Patience {
		if o.Burst {
			r.Add(burstTable(names, p, results))
		} else {
			r.Add(overloadTable(names, p, o.Loads, results))
		}
	}
	o.notes(r.Report, m.burst)
	r.noteOverload(names, results)
	return failed
}

// notes says what the figures are of.
func (o *overload) notes(r *report.Report, b burstTimes) {
	r.Notef("%s, full TLS 1.3 handshakes (X25519) with one request. Capacity is what %d clients at a time get, each followed by its next. The load is a multiple of it, measured just before; what was served is a share of the mean of that and of the capacity just after. A fresh process for each row, %d rounds: median (least–greatest).", o.Key, capacityClients, o.Rounds)
	r.Note("In overload clients come on schedule, so many times the capacity a second, whatever the server does. A client that has waited for its patience leaves: it closes its connection as a browser does. That time, and the latency of those that were served, includes connecting; latency counts from the moment a client was due.")
	r.Notef("Echo: a connection that was there before sends a request every %v, whether or not it has the answers, each timed from the moment it was due. Its process goes before the other clients on their core (SCHED_FIFO).", probeInterval)
	r.Note("Peak RSS is VmHWM in /proc/PID/status; RSS is taken in the middle of the measured part.")
	if o.Burst {
		r.Notef("Burst: half of the capacity for %v, five times the capacity for %v, half of it again for %v. Recovered is the time from the end of the burst until p99 of half seconds is within a factor of %v of its median before, and nobody leaves, for %d half seconds in a row (–: not in that time). Last failed is the time from there to the end of the last half second in which somebody left. Echo is of the burst and %v after it.",
			b.before, b.burst, b.after, recoveredFactor, recoveredBuckets, b.echoAfter)
	} else {
		r.Notef("Each load is measured for %v, after %v or two and a half times the patience, whichever is longer.", o.Duration, o.Warmup)
	}
	if slices.Contains(o.Servers, "nginx-backlog64") {
		r.Note("nginx-backlog64 has a backlog of 64 connections, and not the longest that the kernel allows. The kernel does not let more clients in; they try again a second later.")
	}
	if slices.Contains(o.Servers, "haproxy-maxconn128") {
		r.Note("haproxy-maxconn128 has that backlog too, and takes no more than 128 connections at a time, including those of old clients. (HAProxy takes connections so fast that a short backlog alone changes little. nginx closes the connections of old clients when it reaches such a limit.)")
	}
}
