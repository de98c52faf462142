// Package logqueue keeps those who log from waiting for the log. A reader of
// standard error that has stopped reading, or a log handler that blocks, must not
// stop an event loop.
//
// A Queue calls functions on a goroutine of its own. A Handler is a slog.Handler on
// top of one.
package logqueue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/goroutine"
)

// Max is how many calls may wait in a Queue.
const Max = 1024

// Patience is how long those who end something should wait for its log. A handler
// that works needs a fraction of it, and one that is stuck delays the end by it.
const Patience = time.Second

// Queue calls functions one after another, in the order in which they came. Its
// goroutine exists only while there is something to call, so a Queue needs no
// closing. The zero Queue is ready for use. Its methods may be called from any
// goroutine and do not wait, except Flush.
//
// The functions may do what they like: block, panic, end their goroutine, or use
// the Queue.
type Queue struct {
	// Lost, if not nil, is called in place of n functions that did not fit. It must
	// be set before the Queue is used.
	Lost func(n uint64)

	dropped atomic.Uint64
	own     atomic.Uintptr // the ID of the goroutine that calls, or 0
	depth   atomic.Int64   // records that the handler has logged since the queue was empty

	mu      sync.Mutex
	calls   []call
	missed  uint64 // dropped after the last of calls came
	running bool   // there is a goroutine
}

// call is a function to be called, after missed others that did not fit.
type call struct {
	f       func()
	missed  uint64
	reached <-chan struct{} // that f closes, if it only does that
}

// Do makes the queue call f. If too many calls wait, f is dropped and counted.
func (q *Queue) Do(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.calls) >= Max {
		q.missed++
		q.dropped.Add(1)
		return
	}
	q.add(f)
}

// offer is Do, but returns false if f does not fit, and does not count it.
func (q *Queue) offer(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.calls) >= Max {
		return false
	}
	q.add(f)
	return true
}

// add must be called with the lock held.
func (q *Queue) add(f func()) {
	q.calls = append(q.calls, call{f: f, missed: q.missed})
	q.missed = 0
	if !q.running {
		q.running = true
		go q.drain()
	}
}

// Dropped returns how many functions did not fit.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Inside reports whether the caller is a function that the queue has called.
func (q *Queue) Inside() bool {
	own := q.own.Load()
	return own != 0 && own == goroutine.ID()
}

// Flush waits until all functions that came before have been called, but not longer
// than limit, and not after ctx has ended. Inside such a function it does not wait.
func (q *Queue) Flush(ctx context.Context, limit time.Duration) {
	if q.Inside() {
		return
	}
	q.mu.Lock()
	if !q.running {
		q.mu.Unlock()
		return
	}
	called := q.mark()
	q.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-called:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// mark returns a channel that is closed when all functions so far have been called. It is
// added even if the queue is full; marks next to each other are one. The lock must be
// held.
func (q *Queue) mark() <-chan struct{} {
	if n := len(q.calls); n > 0 && q.calls[n-1].reached != nil {
		return q.calls[n-1].reached
	}
	reached := make(chan struct{})
	q.add(func() { close(reached) })
	q.calls[len(q.calls)-1].reached = reached
	return reached
}

// drain is the queue's goroutine.
func (q *Queue) drain() {
	q.own.Store(goroutine.ID())
	empty := false
	defer func() {
		if !empty { // a function has called runtime.Goexit
			go q.drain()
		}
	}()
	for {
		c, ok := q.next()
		if !ok {
			empty = true
			return
		}
		if c.missed > 0 && q.Lost != nil {
			protect(func() { q.Lost(c.missed) })
		}
		if c.f != nil {
			protect(c.f)
		}
	}
}

// next takes the next call out of the queue. If there is none, the goroutine has to
// end.
func (q *Queue) next() (call, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.calls) == 0 {
		if missed := q.missed; missed > 0 { // nothing has come since
			q.missed = 0
			return call{missed: missed}, true
		}
		q.calls = nil // the memory of a burst is not kept
		q.own.Store(0)
		q.depth.Store(0)
		q.running = false
		return call{}, false
	}
	c := q.calls[0]
	q.calls[0] = call{}
	q.calls = q.calls[1:]
	return c, true
}

// protect calls f and survives its panic, which cannot be logged.
func protect(f func()) {
	defer func() { recover() }()
	f()
}
