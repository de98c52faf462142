// Package load loads TLS servers with handshakes, and measures them: the part
// of "tlsdemo load" below its command line. Its clients are jobs on event loops,
// thousands on a thread, with crypto/tls as it is.
//
// Run does a run as its Config says and returns a Result. A run is one stage
// (ramp, warm-up, measured part), or several in a sweep; each loop has a worker,
// which makes visits: connections with a handshake and perhaps a request.
package load

import (
	"context"
	"errors"
	"fmt"
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
	stops   chan struct{} // closed when it is to end early
	why     string        // it was; read when the loops have ended
	when    time.Time     // the same

	begin    time.Time
	total    Total            // of the stages that are done, and the probes
	kinds    map[string]int64 // of all errors up to now, measured or not
	ended    chan struct{}    // the loops have
	endErr   error            // how
	stopping atomic.Bool
	inFlight atomic.Int64
	most     atomic.Int64 // in flight
	failed   atomic.Int64
	phase    atomic.Pointer[string]
}

// Run does a run. When ctx is done it ends at once, and what was measured until
// then is the result. It is an error if the run cannot begin: if one of the
// targets cannot be reached, say.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := checkDescriptors(cfg.Connections); err != nil {
		return nil, err
	}
	group, err := loop.NewGroup(cfg.Loops, loop.Config{
		MaxJobs:     cfg.Connections + 16,
		MaxQueued:   cfg.Connections + 1024,
		IdleTimeout: -1, // each connection has a deadline of its own
		// A visit sees to its connection's end itself.
		LingerTimeout: -1,
		Logger:        slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	r := &run{cfg: &cfg, group: group, begin: time.Now(), stops: make(chan struct{}), ended: make(chan struct{}), kinds: make(map[string]int64)}
	r.setPhase("connecting")
	r.series = newSeries(r.begin)
	for i, l := range group.Loops() {
		r.workers = append(r.workers, newWorker(r, l, i))
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

// measured is what is known when the stages are done.
type measured struct {
	rec    *recorder
	stage  *stage // that rec is of
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
	if r.cfg.Sweep != nil {
		return r.sweep(ctx), nil
	}
	return r.runStage(ctx, r.newStage(r.cfg.Rate, r.cfg.Ramp, r.cfg.Warmup)), nil
}

// runStage runs a stage to its end, or until ctx is done.
func (r *run) runStage(ctx context.Context, s *stage) *measured {
	for _, w := range r.workers {
		w.rec = newRecorder(len(r.cfg.Targets)) // the loop sees it by the Post that follows
		if w.loop.Post(func() { w.begin(s) }) != nil {
			s.workerDone()
		}
	}
	// wait waits until a time, and reports false if the stage has ended first.
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
			name = fmt.Sprintf("%.0f/s", s.rate)
		}
		r.setPhase(name)
	}
	m := &measured{stage: s, rec: newRecorder(len(r.cfg.Targets))}
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
		m.rec.merge(w.rec)
	}
	r.account(m.rec)
	return m
}

// account adds what is counted of every connection of the run.
func (r *run) account(rec *recorder) {
	r.total.add(rec.total)
	for kind, n := range rec.seen {
		r.kinds[kind] += n
	}
}

// stop makes the run end early. It may be called from any goroutine.
func (r *run) stop(why string) {
	r.stopped.Do(func() {
		r.why, r.when = why, time.Now()
		r.stopping.Store(true)
		close(r.stops)
	})
}

// end cancels what is in progress.
func (r *run) end() {
	r.group.Close()
	<-r.ended // jobs that are not begun never end, so the stage does not
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

// watch calls Config.Progress until the function it returns is called.
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
	p := Progress{Phase: *r.phase.Load(), Elapsed: now.Sub(r.begin), InFlight: int(r.inFlight.Load()), Errors: r.failed.Load()}
	if c := r.cfg; c.Sweep == nil && c.Duration > 0 {
		p.Whole = c.Ramp + c.Warmup + c.Duration
	}
	p.Rate, p.P99 = r.series.lately(now)
	return p
}
