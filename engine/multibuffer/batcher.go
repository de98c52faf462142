package multibuffer

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/jobs"
)

// maxWait is when a request no longer waits for others, on a loop that is
// never idle. Even there, partial batches of 2048-bit keys, half a millisecond
// each at the most, take no more than a twentieth of the time.
const maxWait = 10 * time.Millisecond

// keepHook is for how many turns without a request the batcher stays among the
// loop's BeforeSleep hooks: having one costs the loop a system call whenever
// it goes to sleep, and adding one allocates.
const keepHook = 64

// batcher gathers the requests of one loop for one Engine. It is for the
// loop's goroutine, jobs included; what another one may touch is said where it
// is. The loop keeps the batcher, and they go together.
type batcher struct {
	engine  *Engine
	host    engine.Host
	encoder encoder
	free    freeList

	queues   [len(keySizes)]queue
	waiting  int // in all queues
	arrivals uint64

	batch   batch
	done    atomic.Bool // a worker has computed the batch
	units   [len(keySizes)]*rsax8.Unit
	settled []*request // whose jobs are to be made ready
	reports []Batch    // for OnBatch
	failure error      // what the loop is to log

	quiet       int    // turns since a request came, while none waits
	stopSleep   func() // nil: not among the loop's BeforeSleep hooks
	beforeSleep func() // methods, made into values once
	collect     func()
}

// batcherOf returns the batcher of the loop that the caller's job runs on.
func batcherOf(e *Engine, host engine.Host) *batcher {
	if b, ok := host.Local(e).(*batcher); ok {
		return b
	}
	b := &batcher{engine: e, host: host}
	b.beforeSleep, b.collect = b.onSleep, b.onComputed
	host.SetLocal(e, b)
	host.AfterJobs(b.onTurn) // for good: it makes no system call
	return b
}

func (b *batcher) newRequest(ctx context.Context, k *Key, j jobs.Job) *request {
	r := b.free.get()
	n := k.lanes.Size()
	r.op.Key, r.op.In, r.op.Out = k.lanes, r.in[:n], r.out[:n]
	r.ctx, r.job, r.size = ctx, j, k.size
	return r
}

// add queues r, which has been filled in.
func (b *batcher) add(r *request) {
	b.arrivals++
	r.arrival, r.since, r.state = b.arrivals, b.engine.now(), stateWaiting
	b.queues[r.size].push(r)
	b.waiting++
	b.quiet = 0
	if b.stopSleep == nil {
		b.stopSleep = b.host.BeforeSleep(b.beforeSleep)
	}
}

// remove takes r out of its queue.
func (b *batcher) remove(r *request) {
	b.queues[r.size].remove(r)
	b.waiting--
}

// wait pauses r's job, in which the caller is, until r is finished. An error
// is that of Pause, if the job is being cancelled, or that of r's context, if
// it has ended when the job goes on.
//
// The end of its context does not wake the job, which goes on soon anyway: no
// request waits longer than maxWait and for the batches before its own. To be
// told would cost every handshake, since crypto/tls gives each a context that
// can end, 1 µs and 5 allocations (package engine's BenchmarkContext, on a Xeon).
func (b *batcher) wait(r *request) error {
	w := r.job.WaitCtx()
	wasTaken := w.CallbackTaken()
	r.wake, r.wakeArg, _ = w.Callback()
	defer func() {
		// A callback that was taken for nothing would keep the loop from
		// polling the job at its next pause, whatever that is for.
		if r.wake != nil && !wasTaken && w.CallbackTaken() {
			w.SetCallback(r.wake, r.wakeArg)
		}
	}()
	for {
		if err := r.job.Pause(); err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			if r.finished() { // otherwise release counts it
				b.engine.stats.canceled.Add(1)
			}
			return err
		}
		if r.finished() {
			return nil
		}
		if r.state == stateWaiting && r.job.PauseBlocked() {
			b.remove(r)
			r.state = stateBlocked
			return nil
		}
		w.Callback() // a spurious resume
	}
}

// release is told that the job has done with r, whatever became of it.
func (b *batcher) release(r *request) {
	switch r.state {
	case stateWaiting:
		b.engine.stats.canceled.Add(1)
		b.remove(r)
	case stateComputing:
		b.engine.stats.canceled.Add(1)
		r.abandoned = true // and freed with its batch
		return
	}
	b.free.put(r)
}

// onTurn is the loop's AfterJobs hook.
func (b *batcher) onTurn() {
	if b.done.Load() {
		b.onComputed()
	}
	if b.waiting > 0 {
		b.run(false)
		return
	}
	if b.stopSleep == nil {
		return
	}
	if b.quiet++; b.quiet > keepHook {
		b.stopSleep()
		b.stopSleep = nil
	}
}

// onSleep is the loop's BeforeSleep hook.
func (b *batcher) onSleep() {
	if b.waiting > 0 {
		b.run(true)
	}
}

// run computes a batch that is due, or has a worker compute it, and makes ready
// the jobs of its requests: until there are some, or no batch is due. So the
// loop does not go to sleep while requests wait.
func (b *batcher) run(all bool) {
	for {
		q := b.due(all)
		if q == nil {
			break
		}
		if b.dropVoid(q) {
			continue // a batch of the others may not be due
		}
		if q.n < b.engine.cfg.MinBatch {
			b.leaveAlone(q)
			continue
		}
		b.fill(q)
		if b.engine.cfg.Worker {
			b.startWorker()
			break
		}
		b.compute()
		b.settle()
		if len(b.settled) > 0 {
			break // the loop looks at its sockets before the next one
		}
	}
	b.finish()
}

// due returns the queue that a batch is to be made of now: if several are to,
// that of the oldest request; nil if none is.
func (b *batcher) due(all bool) *queue {
	if len(b.batch.reqs) > 0 { // a worker is at it
		return nil
	}
	var best *queue
	for i := range b.queues {
		q := &b.queues[i]
		if q.n == 0 || best != nil && best.head.arrival < q.head.arrival {
			continue
		}
		if all || q.n >= rsax8.Lanes || b.engine.now()-q.head.since >= maxWait {
			best = q
		}
	}
	return best
}

// dropVoid takes requests whose context has ended out of the next batch of q,
// and reports whether there were any.
func (b *batcher) dropVoid(q *queue) (dropped bool) {
	n := 0
	for r := q.head; r != nil && n < rsax8.Lanes; {
		next := r.next
		if r.ctx.Err() != nil {
			b.remove(r)
			r.state = stateVoid
			b.settled = append(b.settled, r)
			dropped = true
		} else {
			n++
		}
		r = next
	}
	return dropped
}

// leaveAlone leaves all requests in q to crypto/rsa, which their jobs call.
func (b *batcher) leaveAlone(q *queue) {
	b.engine.stats.alone.Add(uint64(q.n))
	for q.n > 0 {
		r := q.head
		b.remove(r)
		r.state = stateAlone
		b.settled = append(b.settled, r)
	}
}

// finish makes the jobs of settled requests ready, in the order in which the
// requests came, and then tells of the batches.
func (b *batcher) finish() {
	slices.SortFunc(b.settled, func(r, s *request) int { return cmp.Compare(r.arrival, s.arrival) })
	for _, r := range b.settled {
		b.host.Ready(r.job)
	}
	clear(b.settled)
	b.settled = b.settled[:0]
	if cap(b.settled) > 1024 { // a burst's memory is not kept
		b.settled = nil
	}

	// Last, and with nothing left to do, as both may panic.
	reports, failure := b.reports, b.failure
	b.reports, b.failure = b.reports[:0], nil
	if failure != nil {
		defer panic(failure)
	}
	for _, batch := range reports {
		b.engine.cfg.OnBatch(batch)
	}
}
