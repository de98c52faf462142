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

// maxWait is how long a request waits for others on a loop that is never idle.
// Partial batches of 2048-bit keys take at most half a millisecond, so even there
// they use no more than a twentieth of the time.
const maxWait = 10 * time.Millisecond

// keepHook is how many turns without a request the batcher keeps its BeforeSleep
// hook. A hook costs the loop a system call whenever it goes to sleep, but adding
// one allocates.
const keepHook = 64

// batcher gathers the requests of one loop for one Engine. It is for the loop's
// goroutine, jobs included, except where a comment says otherwise. The loop holds
// it and it lives as long as the loop.
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
	settled []*request  // requests whose jobs are to be made ready
	reports []Batch     // for OnBatch
	failure error       // for the loop to log

	quiet       int    // turns without a waiting request since the last one came
	stopSleep   func() // removes the BeforeSleep hook; nil: there is none
	beforeSleep func() // onSleep and onComputed as values, made once
	collect     func()
}

// batcherOf returns the batcher of the loop that the caller's job runs on.
func batcherOf(e *Engine, host engine.Host) *batcher {
	if b, ok := host.Local(e).(*batcher); ok {
		return b
	}
	b := &batcher{engine: e, host: host, batch: batch{engine: e}}
	b.beforeSleep, b.collect = b.onSleep, b.onComputed
	host.SetLocal(e, b)
	host.AfterJobs(b.onTurn) // never removed: it makes no system call
	return b
}

func (b *batcher) newRequest(ctx context.Context, k *Key, j jobs.Job) *request {
	r := b.free.get()
	r.init(k)
	r.ctx, r.job = ctx, j
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

// wait pauses r's job, which is the caller's, until r is finished. It returns the
// error of Pause if the job is being cancelled, and that of r's context if this
// has ended when the job continues.
//
// The end of the context does not wake the job. The job continues soon anyway: no
// request waits longer than maxWait plus the time for the batches before its own.
// A wake would cost every handshake 1 µs and 5 allocations, because crypto/tls
// gives each a context that can end (BenchmarkContext in package engine, on a
// Xeon).
func (b *batcher) wait(r *request) error {
	w := r.job.WaitCtx()
	wasTaken := w.CallbackTaken()
	r.wake, r.wakeArg, _ = w.Callback()
	defer func() {
		// If the callback stayed taken for nothing, the loop would not poll the
		// job in its next pause, which may need that.
		if r.wake != nil && !wasTaken && w.CallbackTaken() {
			w.SetCallback(r.wake, r.wakeArg)
		}
	}()
	for {
		if err := r.job.Pause(); err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			if r.finished() { // if not, release counts it
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
		w.Callback() // a spurious resume: take the callback again
	}
}

// release is called when the job is done with r, whatever the outcome.
func (b *batcher) release(r *request) {
	switch r.state {
	case stateWaiting:
		b.engine.stats.canceled.Add(1)
		b.remove(r)
	case stateComputing:
		b.engine.stats.canceled.Add(1)
		r.abandoned = true // settle will free it
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

// run computes batches that are due, or lets a worker compute one, and makes the
// jobs of finished requests ready. It continues until there are such jobs or no
// batch is due, so the loop does not go to sleep while requests wait.
func (b *batcher) run(all bool) {
	for {
		q := b.due(all)
		if q == nil {
			break
		}
		if b.dropVoid(q) {
			continue // the remaining requests may not be due
		}
		if q.n < b.engine.cfg.MinBatch {
			b.leaveAlone(q)
			continue
		}
		b.batch.fill(q)
		b.waiting -= len(b.batch.reqs)
		if b.engine.cfg.Worker {
			b.startWorker()
			break
		}
		b.batch.compute()
		b.settle()
		if len(b.settled) > 0 {
			break // the loop checks its sockets before the next batch
		}
	}
	b.finish()
}

// due returns the queue from which the next batch is due, or nil if none is. If
// several are due, it returns the one with the oldest request. With all, every
// waiting request is due.
func (b *batcher) due(all bool) *queue {
	if len(b.batch.reqs) > 0 { // a worker is computing
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

// dropVoid removes requests whose context has ended from the next batch of q. It
// reports whether there were any.
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

// settle takes over the results of the computed batch.
func (b *batcher) settle() {
	report, failure := b.batch.settle(func(r *request) {
		if r.abandoned {
			b.free.put(r)
		} else {
			b.settled = append(b.settled, r)
		}
	})
	if failure != nil {
		b.failure = failure
	}
	if b.engine.cfg.OnBatch != nil {
		b.reports = append(b.reports, report)
	}
}

// leaveAlone leaves all requests in q to crypto/rsa, which their jobs will call.
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
// requests came, and then calls OnBatch.
func (b *batcher) finish() {
	slices.SortFunc(b.settled, func(r, s *request) int { return cmp.Compare(r.arrival, s.arrival) })
	for _, r := range b.settled {
		b.host.Ready(r.job)
	}
	clear(b.settled)
	b.settled = b.settled[:0]
	if cap(b.settled) > 1024 { // the memory of a burst is not kept
		b.settled = nil
	}

	// This comes last, because both OnBatch and the failure may panic.
	reports, failure := b.reports, b.failure
	b.reports, b.failure = b.reports[:0], nil
	if failure != nil {
		defer panic(failure)
	}
	for _, batch := range reports {
		b.engine.cfg.OnBatch(batch)
	}
}
