//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file watches a server during a load, and says what it used in the
// measured part.

// loadRound is a load, and what the server used from the beginning to the end
// of its measured part.
type loadRound struct {
	Load       *load.Result  `json:"load"`
	ServerCPU  time.Duration `json:"server_cpu_ns"`
	ServerUser time.Duration `json:"server_user_ns"`
	ServerSys  time.Duration `json:"server_system_ns"`
	Switches   int64         `json:"server_context_switches"`
	OtherCPU   time.Duration `json:"other_cpu_ns"`     // that others took of the server's core
	RSS        [3]int64      `json:"server_rss_bytes"` // at the start, in the middle, at the end
}

func (r *loadRound) rate() float64       { return r.Load.HandshakesPer }
func (r *loadRound) busy() float64       { return 100 * r.ServerCPU.Seconds() / r.Load.Duration }
func (r *loadRound) otherBusy() float64  { return 100 * r.OtherCPU.Seconds() / r.Load.Duration }
func (r *loadRound) clientBusy() float64 { return 100 * r.Load.Client.Busy }
func (r *loadRound) p50() float64        { return r.latency(r.Load.Latency.P50) }
func (r *loadRound) p99() float64        { return r.latency(r.Load.Latency.P99) }
func (r *loadRound) max() float64        { return r.latency(r.Load.Latency.Max) }

// cpu is the server's CPU time for a handshake, in microseconds.
func (r *loadRound) cpu() float64 {
	// Some of those of an open loop end after the measured part.
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / (r.Load.HandshakesPer * r.Load.Duration)
}

// latency is in milliseconds. If no handshake succeeded there is none.
func (r *loadRound) latency(us int64) float64 {
	if r.Load.Latency.Count == 0 {
		return math.NaN()
	}
	return float64(us) / 1e3
}

// loadAndWatch runs a load and watches the server meanwhile.
func (o *options) loadAndWatch(ctx context.Context, program string, s *server, args ...string) (*loadRound, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w := &watcher{pid: s.pid(), core: o.ServerCPU}
	if err := w.sample(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- bench.OnCPU(o.ClientCPU, func() error { return w.run(watching) }) // not on the server's core
	}()
	res, err := o.load(ctx, program, args...)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	return w.round(res)
}

// usage is what a server has used up to a moment.
type usage struct {
	when              time.Time
	cpu, user, system time.Duration
	core              time.Duration // for which the server's core was taken
	rss, switches     int64
}

func takeUsage(pid, core int) (u usage, err error) {
	if core >= 0 {
		if u.core, err = bench.CoreTime(core); err != nil {
			return u, err
		}
	}
	if u.rss, err = bench.RSS(pid); err != nil {
		return u, err
	}
	if u.switches, err = contextSwitches(pid); err != nil {
		return u, err
	}
	if u.user, u.system, err = bench.UserAndSystem(pid); err != nil {
		return u, err
	}
	u.when = time.Now()
	u.cpu, err = bench.CPUTime(pid)
	return u, err
}

// watcher looks at a server now and then. The client knows alone when the
// measured part of a load begins and ends; afterwards the samples around these
// moments tell what the server had used by then.
type watcher struct {
	pid, core int
	samples   []usage
}

const (
	watchStep  = 100 * time.Millisecond
	maxSamples = 2048
)

// run samples until ctx is done, and once then.
func (w *watcher) run(ctx context.Context) error {
	step := watchStep
	for {
		err := bench.Sleep(ctx, step)
		if serr := w.sample(); serr != nil {
			return serr
		}
		if err != nil {
			return nil
		}
		if len(w.samples) >= maxSamples { // a long run can do with fewer
			w.thin()
			step *= 2
		}
	}
}

// thin keeps every other sample.
func (w *watcher) thin() {
	n := 0
	for i := 0; i < len(w.samples); i += 2 {
		w.samples[n] = w.samples[i]
		n++
	}
	w.samples = w.samples[:n]
}

func (w *watcher) sample() error {
	u, err := takeUsage(w.pid, w.core)
	w.samples = append(w.samples, u)
	return err
}

// round puts a load's result and the server's usage together.
func (w *watcher) round(res *load.Result) (*loadRound, error) {
	begin, end := measuredPart(res)
	before, err := w.at(begin)
	if err != nil {
		return nil, err
	}
	middle, err := w.at(begin.Add(end.Sub(begin) / 2))
	if err != nil {
		return nil, err
	}
	after, err := w.at(end)
	if err != nil {
		return nil, err
	}
	r := &loadRound{
		Load:       res,
		ServerCPU:  after.cpu - before.cpu,
		ServerUser: after.user - before.user,
		ServerSys:  after.system - before.system,
		Switches:   after.switches - before.switches,
		RSS:        [3]int64{before.rss, middle.rss, after.rss},
	}
	if w.core >= 0 {
		r.OtherCPU = max(after.core-before.core-r.ServerCPU, 0)
	}
	return r, nil
}

// measuredPart returns when a load's warm-up and ramp were over, and when it
// ended. Its first interval begins with the run, before the probes.
func measuredPart(res *load.Result) (begin, end time.Time) {
	begin = res.Started
	if len(res.Series) > 0 && res.Series[0].At < 0 {
		begin = begin.Add(-seconds(res.Series[0].At))
	}
	return begin, begin.Add(seconds(res.Duration))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// at returns what the server had used at a moment, on the straight line between
// the samples before and after it.
func (w *watcher) at(t time.Time) (usage, error) {
	i, _ := slices.BinarySearchFunc(w.samples, t, func(u usage, t time.Time) int { return u.when.Compare(t) })
	if i == 0 || i == len(w.samples) {
		return usage{}, fmt.Errorf("the load says that it measured at %v, which is not between %v and %v, when the server was watched",
			t, w.samples[0].when, w.samples[len(w.samples)-1].when)
	}
	a, b := w.samples[i-1], w.samples[i]
	f := float64(t.Sub(a.when)) / float64(b.when.Sub(a.when))
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(f*float64(b-a)) }
	return usage{
		when:     t,
		cpu:      between(a.cpu, b.cpu),
		user:     between(a.user, b.user),
		system:   between(a.system, b.system),
		core:     between(a.core, b.core),
		switches: a.switches + int64(f*float64(b.switches-a.switches)),
		rss:      b.rss,
	}, nil
}
