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

	// hurry is for how many batches nobody yields after a leader has yielded for
	// longer than maxLead and nobody has joined: the processors have other work.
	hurry = 32
)

// group gathers the requests of goroutines for one Engine. It holds its lock while
// it moves requests, and never while it computes.
type group struct {
	engine *Engine

	mu        sync.Mutex
	queues    [len(keySizes)]queue
	arrivals  uint64
	gathering *request // of the leader that lets others join; nil: there is none
	leaders   int      // gathering or computing; at most as many as processors
	hurry     int      // batches left before which nobody yields
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

// sign returns when r, which has been filled in, is finished.
func (g *group) sign(r *request) {
	g.mu.Lock()
	now := g.engine.now()
	g.arrivals++
	r.arrival, r.since, r.state = g.arrivals, now, stateWaiting
	q := &g.queues[r.size]
	q.push(r)
	yield := g.leaders == 0 && g.hurry == 0
	if g.leaders == 0 || q.n >= rsax8.Lanes || now-q.head.since >= maxLead {
		g.take(r)
	}
	for !r.finished() {
		if g.gathering == r {
			g.lead(r, yield)
			yield = g.hurry == 0
			continue
		}
		g.mu.Unlock()
		<-r.woken
		g.mu.Lock()
		yield = g.hurry == 0
	}
	g.mu.Unlock()
}

// signNow computes r alone, without waiting for anybody.
func (g *group) signNow(r *request) {
	g.mu.Lock()
	g.arrivals++
	r.arrival, r.since, r.state = g.arrivals, g.engine.now(), stateWaiting
	var q queue
	q.push(r)
	t := g.batch()
	t.fill(&q)
	g.leaders++
	g.mu.Unlock()
	g.compute(t)
}

// take gives the lead to r. Either nobody has it, and there is a processor to
// compute on; or somebody has it and has not come back to use it.
func (g *group) take(r *request) {
	if g.gathering == nil {
		if g.leaders >= runtime.GOMAXPROCS(0) {
			return
		}
		g.leaders++
	}
	g.gathering = r
}

// handOver gives the lead to the oldest waiting request, if nobody leads or if
// there are enough for a batch of their own.
func (g *group) handOver() {
	q := g.oldest()
	if q == nil || g.gathering != nil || g.leaders > 0 && q.n < rsax8.Lanes {
		return
	}
	g.take(q.head)
	q.head.wakeUp()
}

// oldest returns the queue with the oldest request, or nil if nobody waits.
func (g *group) oldest() (best *queue) {
	for i := range g.queues {
		if q := &g.queues[i]; q.n > 0 && (best == nil || q.head.arrival < best.head.arrival) {
			best = q
		}
	}
	return best
}

// lead computes a batch on the goroutine of r, to which the lead has been given. It
// may be another goroutine's turn by the time that this one has yielded: then it
// does nothing. It is called, and returns, with the lock held.
func (g *group) lead(r *request, yield bool) {
	if yield && g.queues[r.size].n < rsax8.Lanes {
		before := g.arrivals
		began := g.engine.now()
		g.mu.Unlock()
		for range yields {
			g.engine.yield()
		}
		g.mu.Lock()
		if g.arrivals == before && g.engine.now()-began > maxLead {
			g.hurry = hurry
		}
		if g.gathering != r {
			return
		}
	}
	if g.hurry > 0 {
		g.hurry--
	}
	g.gathering = nil
	q := g.oldest()
	if q.n < g.engine.cfg.MinBatch {
		g.leaveAlone(q)
		return
	}
	t := g.batch()
	t.fill(q)
	g.handOver()
	g.mu.Unlock()
	g.compute(t)
	g.mu.Lock()
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
		g.batches = g.batches[:n-1]
		return t
	}
	return &batch{engine: g.engine}
}

// compute computes a batch, wakes its goroutines, and hands the lead over.
func (g *group) compute(t *batch) {
	t.compute()
	g.mu.Lock()
	report, failure := t.settle(func(r *request) {
		if r.abandoned {
			g.free.put(r)
		} else {
			r.wakeUp()
		}
	})
	if len(g.batches) < runtime.GOMAXPROCS(0) {
		g.batches = append(g.batches, t)
	}
	g.leaders--
	g.handOver()
	g.mu.Unlock()
	if failure != nil {
		slog.Error(failure.Error())
	}
	if f := g.engine.cfg.OnBatch; f != nil {
		f(report) // last, because it may panic
	}
}

// wakeUp tells the goroutine of r to look at its state.
func (r *request) wakeUp() {
	select {
	case r.woken <- struct{}{}:
	default: // it has been told already
	}
}
