//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// overload is the part that measures servers that are asked for more than they
// can do, by clients that leave when their patience is up. (A server that many
// ask at once, and then nobody: that is the part storm.)
//
// This file is its command. overloadcell.go measures, overloadburst.go looks how
// a server recovers, overloadprobe.go is the connection that was there before,
// overloadtables.go is what a reader is told.
type overload struct {
	options
	Key      string          `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048" help:"The servers' key: ${enum}. Where the client's core is the limit, a slower key makes the server slower."`
	Patience []load.Patience `default:"500ms,1s,2s,4s" help:"How long clients wait before they leave: times, or ranges such as 500ms-4s (default ${default})."`
	Loads    []float64       `default:"1.5,2,5,10" help:"How many clients come a second, as multiples of the server's capacity."`
	Burst    bool            `help:"Instead of steady loads: half of the capacity, five times as much for 5s, and half again. How long does the server need to recover?"`
	Rounds   int             `default:"1" help:"Rounds; in each, every server is measured once with every load and patience."`
	Warmup   time.Duration   `default:"10s" help:"Load before what is measured: overload is steady only when the first of those that are not served have left."`
	Duration time.Duration   `default:"10s" help:"How long each load is measured."`
	Servers  []string        `enum:"jobloop,jobloop-multibuffer,jobloop-offload,goroutines,nethttp,fasthttp,nginx,nginx-backlog64,haproxy,haproxy-maxconn128" default:"jobloop,jobloop-multibuffer,goroutines,nethttp,nginx,nginx-backlog64,haproxy,haproxy-maxconn128" help:"What to measure, of ${enum}."`

	program string // of the client
	burst   burstTimes
}

// capacityClients is how many clients at a time find out a server's capacity.
const capacityClients = 64

// overloadRound is what was found out about one server in one round.
type overloadRound struct {
	Capacity *overloadCell   `json:"capacity"`
	Cells    []*overloadCell `json:"cells,omitempty"`
	Bursts   []*burstCell    `json:"bursts,omitempty"`
}

func (o *overload) Run(ctx context.Context) error {
	o.burst = usualBurst
	if o.Quick {
		o.Rounds, o.Duration, o.Warmup, o.burst = 1, time.Second, time.Second, quickBurst
		o.Servers, o.Patience, o.Loads = o.Servers[:1], o.Patience[:1], []float64{2}
	}
	if err := o.check(); err != nil {
		return err
	}
	r, err := o.newReport("overload")
	if err != nil {
		return err
	}
	names, skipped, err := runnableOrError(o.Servers, o.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		contenders, err := o.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		if o.program, err = o.loadProgram(ctx, dir); err != nil {
			return err
		}
		keys, err := newKeys(dir, o.Key)
		if err != nil {
			return err
		}
		results := make(map[string][]*overloadRound)
		m := &overloadMeasurer{overload: o, keys: keys}
		failed := rounds(ctx, o.Rounds, contenders, func(c contender) error {
			round, err := m.round(ctx, c)
			if round.Capacity != nil { // what was measured before it failed
				results[c.name] = append(results[c.name], round)
			}
			return err
		})
		if len(results) == 0 {
			return failed
		}
		r.Results = results
		tables := []*bench.Table{capacityTable(names, results)}
		if o.Burst {
			tables = append(tables, burstTables(names, o.Patience, results)...)
		} else {
			tables = append(tables, overloadTables(names, o.Patience, o.Loads, results)...)
		}
		notes := slices.Concat(skipped, o.notes(), overloadWarnings(names, results))
		return errors.Join(r.finish(&o.options, notes, tables...), failed)
	})
}

// check finds what makes no sense before anything is started.
func (o *overload) check() error {
	switch {
	case len(o.Patience) == 0:
		return errors.New("--patience: none")
	case len(o.Loads) == 0:
		return errors.New("--loads: none")
	case o.Rounds < 1:
		return fmt.Errorf("--rounds: %d, at least 1 is needed", o.Rounds)
	case o.Duration <= 0:
		return fmt.Errorf("--duration: %v is no time to measure", o.Duration)
	case o.Warmup < 0:
		return fmt.Errorf("--warmup: %v is less than none", o.Warmup)
	}
	for _, l := range o.Loads {
		if !(l > 0) {
			return fmt.Errorf("--loads: %v times the capacity", l)
		}
	}
	return nil
}

// what is the kind of handshake that all clients make.
func (o *overload) what() combination { return combination{o.Key, "1.3", "full"} }

// notes says what the figures are of.
func (o *overload) notes() []string {
	notes := []string{
		fmt.Sprintf("%s, full TLS 1.3 handshakes (X25519) with one request. Capacity is what %d clients at a time get, each followed by its next. The load is a multiple of it, measured just before; what was served is a share of the mean of that and of the capacity just after. A fresh process for each row, %d rounds: median (least–greatest).", o.Key, capacityClients, o.Rounds),
		"In overload clients come on schedule, so many times the capacity a second, whatever the server does. A client that has waited for its patience leaves: it closes its connection as a browser does. That time, and the latency of those that were served, includes connecting; latency counts from the moment a client was due.",
		fmt.Sprintf("Echo: a connection that was there before sends a request every %v, whether or not it has the answers, each timed from the moment it was due. Its process goes before the other clients on their core (SCHED_FIFO).", probeInterval),
		"Peak RSS is VmHWM in /proc/PID/status; RSS is that in the middle of the measured part.",
	}
	if o.Burst {
		b := o.burst
		notes = append(notes, fmt.Sprintf("Burst: half of the capacity for %v, five times the capacity for %v, half of it again for %v. Recovered is from the end of the burst until p99, of half seconds, is within a factor of %v of what it was before (its median), and nobody leaves, for %d half seconds in a row (–: not in that time); last failed is from there to the end of the last half second in which somebody left. Echo is of the burst and %v after it.",
			b.before, b.burst, b.after, recoveredFactor, recoveredBuckets, b.echoAfter))
	} else {
		notes = append(notes, fmt.Sprintf("Each load is measured for %v, after %v or two and a half times the patience, whichever is longer.", o.Duration, o.Warmup))
	}
	if slices.Contains(o.Servers, nameNginxShort) {
		notes = append(notes, "nginx-backlog64 has a backlog of 64 connections, and not the longest that the kernel allows: clients beyond it are not let in, and try again a second later.")
	}
	if slices.Contains(o.Servers, nameHAProxyFew) {
		notes = append(notes, "haproxy-maxconn128 has that too, and no more than 128 connections at a time, those of old clients among them. (HAProxy takes connections so fast that a short backlog alone changes little. nginx ends the connections of old clients when it has no more than so many.)")
	}
	return notes
}
