// Package jobsync is to jobs what package sync and channels are to goroutines: a
// [Mutex], a [Chan] and a [Group] that pause the job where those would block
// the thread, and with it all jobs of the loop.
//
// What waits takes the context of its job, honours its end and returns its
// error; jobs.ErrCanceled when the job is cancelled; and loop.ErrNotInJob
// outside the job that the context carries. What does not have to wait needs
// no job. Jobs of several loops, and other goroutines, may use the same Mutex
// or Chan.
package jobsync

import (
	"context"

	"github.com/jobloop/jobloop/loop"
)

// waiter is a job that waits for its turn. Whoever gives it the turn sets given,
// under the mutex that guards the queue, and calls done.
type waiter struct {
	done  func()
	given bool
}

// queue holds waiters in the order in which they came.
type queue struct{ waiting []*waiter }

// next takes the first waiter, nil if there is none.
func (q *queue) next() *waiter {
	if len(q.waiting) == 0 {
		return nil
	}
	w := q.waiting[0]
	q.waiting[0] = nil
	if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return w
}

// remove takes w out.
func (q *queue) remove(w *waiter) {
	for i := range q.waiting {
		if q.waiting[i] == w {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
}

// wait pauses the job until w has its turn. The mutex mu is locked by the
// caller, and again on return, also if Await ends the job by runtime.Goexit. If
// the error is not nil, w has no turn and is out of q; a turn that it was given
// before counts.
func wait(ctx context.Context, mu locker, q *queue, w *waiter) (err error) {
	defer func() {
		if w.done != nil { // Await has called the function
			mu.Lock()
		}
		if w.given {
			err = nil
		} else {
			q.remove(w)
		}
	}()
	return loop.Await(ctx, func(done func()) {
		w.done = done
		q.waiting = append(q.waiting, w)
		mu.Unlock()
	})
}

type locker interface {
	Lock()
	Unlock()
}

// give gives the turn to w.
func (w *waiter) give() {
	w.given = true
	w.done()
}
