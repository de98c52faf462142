// Package load loads TLS servers with handshakes and measures them. It is the load
// tester behind "tlsdemo load". Its clients are jobs on event loops, thousands on a
// thread, with unmodified crypto/tls.
//
// Run does the run that a Config describes and returns a Result. A run is one stage
// (ramp, warm-up, measured part); a sweep has several. Each loop has a worker, which
// makes visits. A visit is one connection, with a handshake and perhaps a request.
package load

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// Interrupted is Result.Stopped when the run's context was done.
const Interrupted = "interrupted"

// run is a run in progress.
type run struct {
	cfg     *Config
	group   *loop.Group
	workers []*worker
	series  *series
	stopped sync.Once
	stops   chan struct{} // closed when the run is to end early
	why     string        // it ended early; read after the loops have ended
	when    time.Time     // it was stopped; read after the loops have ended

	warnings []string         // about addresses that are left out
	stages   int              // begun
	begin    time.Time        // of the first stage
	total    Total            // of the probes and of the stages that are done
	aborted  aborted          // the same
	kinds    map[string]int64 // of all errors up to now, measured or not
	ended    chan struct{}    // closed when the loops have ended
	endErr   error            // the loops' error, after that
	stopping atomic.Bool
	inFlight atomic.Int64
	most     atomic.Int64 // the maximum of inFlight
	failed   atomic.Int64
	phase    atomic.Pointer[string]
}

// Run does a run. When ctx is done, the run ends at once, and the result has what was
// measured until then. Run returns an error if the run cannot begin, for example
// because a target cannot be reached.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := checkDescriptors(cfg.Connections); err != nil {
		return nil, err
	}
	found, warnings, err := cfg.lookUp(ctx)
	if err == nil {
		err = cfg.checkSources(found)
	}
	if err != nil {
		return nil, beforeItBegan(ctx, err)
	}
	group, err := loop.NewGroup(cfg.Loops, loop.Config{
		MaxJobs:     cfg.Connections + 16,
		MaxQueued:   cfg.Connections + 1024,
		IdleTimeout: -1, // each connection has a deadline of its own
		// A visit closes its connection itself.
		LingerTimeout: -1,
		Logger:        slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	r := &run{cfg: &cfg, group: group, warnings: warnings, stops: make(chan struct{}), ended: make(chan struct{}), kinds: make(map[string]int64)}
	r.setPhase("connecting")
	r.series = newSeries(time.Now())
	for i, l := range group.Loops() {
		r.workers = append(r.workers, newWorker(r, l, i, found))
	}
	go func() {
		r.endErr = group.Run(context.Background())
		close(r.ended)
	}()
	m, err := r.measure(ctx)
	group.Close()
	<-r.ended
	if err := errors.Join(err, r.endErr); err != nil {
		return nil, err
	}
	return r.result(m), nil
}

// measured is what the stages have measured.
type measured struct {
	rec    *recorder
	stage  *stage // that rec belongs to
	ended  time.Time
	most   int // connections at a time
	client usage
	sweep  *Sweep
}

func (r *run) measure(ctx context.Context) (*measured, error) {
	if err := r.probe(ctx); err != nil {
		return nil, err
	}
	stop := r.watch()
	defer stop()
	if err := r.waitForStart(ctx); err != nil {
		return nil, err
	}
	if r.cfg.Sweep != nil {
		return r.sweep(ctx), nil
	}
	return r.runStage(ctx, r.newStage(r.cfg.Rate, r.cfg.Ramp, r.cfg.Warmup)), nil
}

// runStage runs a stage to its end, or until ctx is done.
func (r *run) runStage(ctx context.Context, s *stage) *measured {
	for _, w := range r.workers {
		w.rec = newRecorder(len(r.workers[0].targets)) // Post makes it visible to the loop
		if w.loop.Post(func() { w.begin(s) }) != nil {
			s.workerDone()
		}
	}
	// wait waits until a time. It returns false if the stage ended first.
	wait := func(until time.Time) bool {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-s.done:
		case <-r.ended:
		case <-ctx.Done():
			r.stop(Interrupted)
			r.end()
		case <-r.stops:
			r.end()
		}
		return false
	}
	phase := func(name string) {
		if r.cfg.Sweep != nil {
			name = rateText(s.rate) + "/s"
		}
		r.setPhase(name)
	}
	m := &measured{stage: s, rec: newRecorder(len(r.workers[0].targets))}
	phase("ramp")
	wait(s.begin.Add(s.ramp))
	phase("warm-up")
	if wait(s.start) {
		phase("measuring")
		r.most.Store(r.inFlight.Load())
		before := takeUsage()
		inTime := wait(s.measuredUntil())
		m.client = takeUsage().sub(before)
		if inTime {
			phase("ending")
			wait(s.begin.Add(forever))
		}
	}
	m.ended, m.most = time.Now(), int(r.most.Load())
	for _, w := range r.workers {
		w.cutOff()
		m.rec.merge(w.rec)
	}
	r.account(m.rec)
	return m
}

// account adds a recorder's counts of all connections, measured or not.
func (r *run) account(rec *recorder) {
	r.total.add(rec.total)
	r.aborted.add(&rec.allAborted)
	r.total.Aborted = r.aborted.byName()
	addTo(r.kinds, rec.seen)
}

// stop makes the run end early. Any goroutine may call it.
func (r *run) stop(why string) {
	r.stopped.Do(func() {
		r.why, r.when = why, time.Now()
		r.stopping.Store(true)
		close(r.stops)
	})
}

// end cancels the visits in progress.
func (r *run) end() {
	r.group.Close()
	<-r.ended // do not wait for the stage: jobs that never began do not end it
}

func (r *run) enter() {
	n := r.inFlight.Add(1)
	for {
		most := r.most.Load()
		if n <= most || r.most.CompareAndSwap(most, n) {
			return
		}
	}
}

func (r *run) setPhase(name string) { r.phase.Store(&name) }

// watch calls Config.Progress regularly until the returned function is called.
func (r *run) watch() (stop func()) {
	if r.cfg.Progress == nil {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.cfg.Progress(r.progress())
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-gone }
}

func (r *run) progress() Progress {
	now := time.Now()
	p := Progress{Phase: *r.phase.Load(), Elapsed: now.Sub(r.series.beginning()), InFlight: int(r.inFlight.Load()), Errors: r.failed.Load()}
	if c := r.cfg; c.Sweep == nil && c.Duration > 0 {
		p.Whole = c.Ramp + c.Warmup + c.Duration
	}
	p.Rate, p.P99 = r.series.lately(now)
	return p
}
