package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"math/rand/v2"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// worker is one loop's share of a run. It belongs to its loop, except for the fields
// that newWorker sets.
type worker struct {
	run   *run
	loop  *loop.Loop
	index int

	targets      []*target
	certificates *certificates
	readers      []*answerReader

	visits      int     // begun
	resumeShare float64 // see resumeNext
	random      *rand.Rand
	dropped     []byte // what servers send on held connections

	stage *stage
	rec   *recorder
	now   interval // since the last tick
	since time.Time
	tick  *loop.Timer
	jobs  int      // of the stage that have not ended
	queue int      // first jobs of connections that the loop has not started yet
	wakes []func() // wake the jobs that wait for the queue to become empty
	left  int64    // measured visits still to begin, in a stage with a count
	next  float64  // number of the next arrival, in an open loop
	gaps  *gaps    // between arrivals
	held  map[*holding]struct{}
	asked map[*conn]struct{} // they are parked until their answers come
	ended int                // visits that ended in this turn of the loop
	turns func()             // stops counting ended

	lettingGo bool // holds end now
	letGone   int  // how many did: their connections were in use until the end
}

// target is an address to connect to, as one loop sees it.
type target struct {
	*endpoint
	index        int
	dialers      []*loop.Dialer // to be used in turn
	full, resume *tls.Config
	session      *session
	request      []byte
}

func newWorker(r *run, l *loop.Loop, index int, found []endpoint) *worker {
	w := &worker{run: r, loop: l, index: index, certificates: newCertificates(), random: newRandom(r.cfg.Seed, index), asked: make(map[*conn]struct{})}
	dialers := newDialers(r.cfg.Sources, r.cfg.Timeout)
	for i := range found {
		e, s := &found[i], new(session)
		full, resume := r.cfg.tlsConfigs(e.host, w.certificates, s)
		w.targets = append(w.targets, &target{
			endpoint: e, index: i, dialers: r.cfg.dialers(e, dialers), full: full, resume: resume, session: s,
			request: requestText(r.cfg.Request, cmp.Or(r.cfg.TLS.ServerName, e.host), e.port, r.cfg.Reset || r.cfg.Hold.Share > 0),
		})
	}
	w.rec = newRecorder(len(w.targets))
	w.now.latency = newHistogram(SeriesDigits)
	return w
}

// begin begins a stage on the loop's goroutine.
func (w *worker) begin(s *stage) {
	w.stage, w.lettingGo, w.letGone = s, false, 0
	w.firstArrival()
	w.left = s.share(s.count, w.index)
	w.since = time.Now()
	w.turns = w.countTurns()
	w.jobs = 1 // this function
	w.tick = w.loop.AfterFunc(w.run.series.untilNext(w.since), w.publish)
	if s.rate > 0 {
		w.start(w.pace)
	} else {
		n := s.connections
		for i := w.index; i < n; i += s.workers {
			delay := time.Duration(float64(s.ramp) * float64(i) / float64(n))
			w.queue++
			w.start(func(ctx context.Context) {
				if w.queue--; w.queue == 0 {
					w.wakeWaiting()
				}
				w.repeat(ctx, delay, true)
			})
		}
	}
	w.jobEnded()
}

// start starts a job of the stage.
func (w *worker) start(f func(context.Context)) {
	w.jobs++
	err := w.loop.Go(func(ctx context.Context) error {
		defer w.jobEnded()
		f(ctx)
		return nil
	})
	if err != nil { // the loop has ended
		w.jobEnded()
	}
}

func (w *worker) jobEnded() {
	if w.jobs--; w.jobs == 0 {
		w.tick.Stop()
		w.turns()
		w.flush()
		w.stage.workerDone()
		return
	}
	w.letGo(time.Now())
}

// publish adds what happened since the last tick to the run's series.
func (w *worker) publish() {
	w.flush()
	now := time.Now()
	if w.run.stopping.Load() || w.stage.over(now) {
		w.wakeWaiting()
	}
	w.letGo(now)
	w.tick.Reset(w.run.series.untilNext(w.since))
}

func (w *worker) flush() {
	w.now.inFlight = int(w.run.inFlight.Load())
	w.run.series.add(w.since, &w.now)
	w.run.failed.Add(w.now.errors)
	w.now.handshakes, w.now.errors = 0, 0
	w.now.latency.Reset()
	w.since = time.Now()
}

// maxEnded is how many connections, of all loops together, may have ended but not be
// closed yet while others begin in their place.
const maxEnded = 256

// countTurns sets ended to 0 after each turn of the loop, until the returned function
// is called.
func (w *worker) countTurns() (stop func()) { return w.loop.AfterJobs(func() { w.ended = 0 }) }

// letClose is called before a visit that takes the place of one that has ended. The
// loop closes connections at the beginning of its next turn. If many have ended in
// this turn, as when many clients give up together, letClose waits for that. Else
// there would be too few file descriptors.
func (w *worker) letClose(ctx context.Context) error {
	for w.ended >= max(maxEnded/len(w.run.workers), 1) {
		if err := loop.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// do does a visit and counts it, unless its connection is parked before it ends.
func (w *worker) do(ctx context.Context, v *visit) error {
	w.run.enter()
	w.rec.total.Begun++
	err := w.visit(ctx, v)
	if v.parked {
		return nil
	}
	err = w.count(v, err)
	if v.held != nil {
		w.hold(v.held)
		v.held.park()
	}
	return err
}

// count counts a visit that ended with an error, or without one. It returns the error,
// or nil if the client aborted.
func (w *worker) count(v *visit, err error) error {
	if v.held == nil {
		w.run.inFlight.Add(-1)
		w.ended++
	}
	switch {
	case v.aborted:
		w.tell(v, End{Aborted: abortNames[v.abort]})
		w.rec.allAborted[v.abort]++
		if w.stage.counts(v) {
			w.rec.aborted[v.abort]++
		}
		return nil
	case err == nil:
		w.tell(v, End{Latency: v.ended.Sub(v.due)})
		w.now.handshakes++
		record(w.now.latency, v.ended.Sub(v.due))
		if w.stage.counts(v) {
			w.rec.success(v)
		}
		if w.stage.inTime(v) {
			w.rec.inTime++
		}
		return nil
	case canceled(err):
		w.rec.total.Canceled++
		w.rec.total.OldestCanceled = max(w.rec.total.OldestCanceled, time.Since(v.due).Microseconds())
		return err
	}
	kind := kindOf(err)
	w.tell(v, End{Kind: kind})
	w.now.errors++
	w.rec.total.Errors++
	w.rec.seen[kind]++
	if v.gaveUp {
		w.rec.total.GaveUp++
	}
	if w.stage.counts(v) {
		w.rec.failure(v, kind, err)
	}
	if kind == kindDescriptors {
		w.run.stop("out of descriptors")
	}
	return err
}

// tell calls Config.OnEnd. v is nil for a visit that never began.
func (w *worker) tell(v *visit, e End) {
	f := w.run.cfg.OnEnd
	if f == nil {
		return
	}
	if v != nil {
		e.Target, e.Address = v.target.target, v.target.String()
	}
	f(e)
}
