// Package jobsync synchronizes jobs as package sync and channels synchronize
// goroutines. A [Mutex], a [Chan] or a [Group] pauses the job where its
// counterpart would block the thread, and with it all jobs of the loop.
//
// Functions that wait take the context of the job. They return the context's error
// when it ends, jobs.ErrCanceled when the job is cancelled, and loop.ErrNotInJob
// outside the job that the context carries. A call that does not have to wait needs
// no job. Jobs of several loops, and other goroutines, may share a Mutex or Chan.
package jobsync

import (
	"context"

	"github.com/jobloop/jobloop/loop"
)

// waiter is a job that waits for its turn. To give it the turn, give sets given and
// calls done, with the mutex held that guards the queue.
type waiter struct {
	done  func()
	given bool
}

// queue holds waiters in the order in which they came.
type queue struct{ waiting []*waiter }

// next removes and returns the first waiter, or returns nil if there is none.
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

// remove removes w from the queue.
func (q *queue) remove(w *waiter) {
	for i := range q.waiting {
		if q.waiting[i] == w {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
}

// wait pauses the job until w has its turn. It must be called with mu locked. It
// unlocks mu while the job is paused, and locks it again in any case, even if Await
// ends the job by runtime.Goexit. If it returns an error, w has not been given the
// turn and is not in q any more. If w has been given the turn, wait returns nil,
// even if the wait has failed.
func wait(ctx context.Context, mu locker, q *queue, w *waiter) (err error) {
	defer func() {
		if w.done != nil { // Await has called the function below
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

// give gives w its turn.
func (w *waiter) give() {
	w.given = true
	w.done()
}
