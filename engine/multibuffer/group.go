package multibuffer

import (
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// This file gathers the signatures of goroutines, in servers that have one for
// each connection. No loop tells when nothing is left to do. So one of the
// goroutines leads: it lets those run that are ready to, so that they can reach
// their own Sign, and then computes the requests that are there. (Databases commit
// the transactions of several clients together in the same way.)
//
// The leader waits for nobody. If no other goroutine is ready, it goes on at once.
// There is no timer, and no goroutine besides those that sign.

const (
	// yields is how often a leader lets others run. A goroutine that has just been
	// woken may have to run twice before it reaches Sign.
	yields = 2

	// maxLead is how long a request waits for its leader before the next goroutine
	// that signs computes instead. The leader may have yielded to goroutines that
	// do not give its processor back.
	maxLead = time.Millisecond

	// hurried is how many batches are computed without yielding after a yield took
	// longer than maxLead and brought nobody: the processors have other work.
	hurried = 32
)

// group gathers the requests of goroutines for one Engine. It holds its lock while
// it moves requests, and never while it computes.
type group struct {
	engine *Engine

	mu        sync.Mutex
	queues    [len(keySizes)]queue
	arrivals  uint64
	gathering *request // whose goroutine leads and has not begun to compute; nil: there is none
	leaders   int      // gathering or computing; no more than processors
	hurry     int      // batches left to compute without yielding
	free      freeList
	batches   []*batch // not in use; at most as many as processors
}

// encoders are for goroutines. A loop has its own.
var encoders = sync.Pool{New: func() any { return new(encoder) }}

// newRequest returns a request for a goroutine's signature.
func (g *group) newRequest(k *Key) *request {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.free.get()
	r.init(k)
	if r.woken == nil {
		r.woken = make(chan struct{}, 1)
	}
	return r
}

// release is called when the goroutine is done with r, whatever the outcome. It may
// be panicking.
func (g *group) release(r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.state {
	case stateWaiting:
		g.queues[r.size].remove(r)
		if g.gathering == r {
			g.gathering = nil
			g.leaders--
			g.handOver()
		}
	case stateComputing:
		r.abandoned = true // settle will free it
		return
	}
	g.free.put(r)
}

// sign returns when r, which has been filled in, is finished. Meanwhile its goroutine
// may compute the batches of others.
func (g *group) sign(r *request) {
	g.mu.Lock()
	now := g.engine.now()
	g.arrivals++
	r.arrival, r.since, r.state = g.arrivals, now, stateWaiting
	q := &g.queues[r.size]
	q.push(r)
	yield := g.leaders == 0 && g.hurry == 0
	if g.leaders == 0 || q.n >= rsax8.Lanes || g.late(g.oldest()) {
		g.take(r)
	}
	var few [1]outcome
	outcomes := few[:0]
	for !r.finished() {
		if g.gathering == r {
			if o, ok := g.lead(r, yield); ok {
				outcomes = append(outcomes, o)
			}
			yield = g.hurry == 0
			continue
		}
		g.mu.Unlock()
		<-r.woken
		g.mu.Lock()
		yield = g.hurry == 0
	}
	g.mu.Unlock()
	// r is finished and cannot be given the lead. So these may block, sign or panic.
	for _, o := range outcomes {
		g.tell(o)
	}
}

// signNow computes r alone, without waiting for anybody.
func (g *group) signNow(r *request) {
	g.mu.Lock()
	r.since, r.state = g.engine.now(), stateWaiting
	var q queue
	q.push(r)
	t := g.batch()
	t.fill(&q)
	g.mu.Unlock()
	t.compute()
	g.mu.Lock()
	o := g.settle(t)
	g.mu.Unlock()
	g.tell(o)
}

// take gives the lead to r. If another has it and has not begun to compute, r has it
// instead. If nobody has it and no processor is left to compute on, it does nothing.
func (g *group) take(r *request) {
	if g.gathering == nil {
		if g.leaders >= runtime.GOMAXPROCS(0) {
			return
		}
		g.leaders++
	}
	g.gathering = r
}

// handOver gives the lead to a waiting request, if nobody leads or if there are enough
// for a batch of their own.
func (g *group) handOver() {
	if g.gathering != nil {
		return
	}
	q := g.full()
	if g.leaders == 0 {
		q = g.oldest()
	}
	if q == nil {
		return
	}
	if g.take(q.head); g.gathering != nil {
		q.head.wakeUp()
	}
}

// oldest returns the queue with the oldest request, or nil if nobody waits.
func (g *group) oldest() *queue { return g.oldestOf(1) }

// full returns the oldest of the queues that fill a batch, or nil if none does.
func (g *group) full() *queue { return g.oldestOf(rsax8.Lanes) }

func (g *group) oldestOf(least int) (best *queue) {
	for i := range g.queues {
		if q := &g.queues[i]; q.n >= least && (best == nil || q.head.arrival < best.head.arrival) {
			best = q
		}
	}
	return best
}

// late says whether a queue's oldest request has waited for maxLead.
func (g *group) late(q *queue) bool {
	return g.engine.now()-q.head.since >= maxLead
}

// lead computes a batch on the goroutine of r, to which the lead has been given. It
// may be another goroutine's turn by the time that this one has yielded: then it
// does nothing. It is called, and returns, with the lock held.
func (g *group) lead(r *request, yield bool) (o outcome, computed bool) {
	if yield && g.queues[r.size].n < rsax8.Lanes {
		before := g.arrivals
		began := g.engine.now()
		g.mu.Unlock()
		for range yields {
			g.engine.yield()
		}
		g.mu.Lock()
		if g.arrivals == before && g.engine.now()-began > maxLead {
			g.hurry = hurried
		}
		if g.gathering != r {
			return outcome{}, false
		}
	} else if g.hurry > 0 {
		g.hurry--
	}
	g.gathering = nil
	q := g.full()
	if q == nil || g.late(g.oldest()) {
		q = g.oldest()
	}
	if q.n < g.engine.cfg.MinBatch {
		g.leaveAlone(q)
		return outcome{}, false
	}
	t := g.batch()
	t.fill(q)
	g.handOver()
	g.mu.Unlock()
	t.compute()
	g.mu.Lock()
	o = g.settle(t)
	g.leaders--
	g.handOver()
	return o, true
}

// leaveAlone leaves all requests in q to crypto/rsa, which their goroutines will
// call.
func (g *group) leaveAlone(q *queue) {
	g.engine.stats.alone.Add(uint64(q.n))
	for q.n > 0 {
		r := q.head
		q.remove(r)
		r.state = stateAlone
		r.wakeUp()
	}
	g.leaders--
	g.handOver()
}

// batch returns an empty batch.
func (g *group) batch() *batch {
	if n := len(g.batches); n > 0 {
		t := g.batches[n-1]
		g.batches[n-1] = nil
		g.batches = g.batches[:n-1]
		return t
	}
	return &batch{engine: g.engine}
}

// settle wakes the goroutines of a computed batch, and keeps its memory.
func (g *group) settle(t *batch) outcome {
	report, failure := t.settle(func(r *request) {
		if r.abandoned {
			g.free.put(r)
		} else {
			r.wakeUp()
		}
	})
	g.batches = append(g.batches, t)
	for n := len(g.batches); n > runtime.GOMAXPROCS(0); n-- {
		g.batches[n-1] = nil
		g.batches = g.batches[:n-1]
	}
	return outcome{report, failure}
}

// outcome is what is to be told about a computed batch.
type outcome struct {
	report  Batch
	failure error
}

// tell calls code of others, which may do anything.
func (g *group) tell(o outcome) {
	if o.failure != nil {
		logTo(slog.LevelError, o.failure.Error())
	}
	if f := g.engine.cfg.OnBatch; f != nil {
		f(o.report)
	}
}

// wakeUp tells the goroutine of r to look at its state.
func (r *request) wakeUp() {
	select {
	case r.woken <- struct{}{}:
	default: // it has been told already
	}
}
