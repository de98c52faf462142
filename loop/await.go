package loop

import (
	"context"
	"sync/atomic"
	"time"
)

// How a job waits for something outside the loop, and honours its context.

// Await pauses the job that ctx carries until done has been called. It first
// calls begin, inside the job. begin starts the work to wait for, on a goroutine
// or through anything else that can call back.
//
//	err := loop.Await(ctx, func(done func()) {
//		go func() {
//			defer done()
//			answer, failure = db.Query(q)
//		}()
//	})
//
// done may be called from any goroutine, from begin itself, and more than once.
// The job sees everything that happened before done was called.
//
// Await returns ctx's error when ctx ends, and jobs.ErrCanceled when the job is
// cancelled. The work may then still be running, and may call done later. If
// Await is not called inside the job that ctx carries, it returns ErrNotInJob
// and does not call begin. A job that waits here uses no CPU time.
func Await(ctx context.Context, begin func(done func())) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var called atomic.Bool
	unblock := make(chan struct{}) // for a job that may not pause
	begin(func() {
		if !called.Swap(true) {
			close(unblock)
			t.loop.send(message{resume: t})
		}
	})
	return t.until(ctx, called.Load, unblock)
}

// until pauses t's job, which is the caller's, until cond is true. The code that
// makes cond true also sends a message that resumes t. If the job may not pause,
// until blocks the thread until unblock is closed.
func (t *task) until(ctx context.Context, cond func() bool, unblock <-chan struct{}) error {
	defer t.resumeAfter(ctx)()
	for !cond() {
		if err := ctx.Err(); err != nil {
			return err
		}
		paused, err := t.pause()
		if err != nil {
			if cond() {
				return nil
			}
			return err
		}
		if !paused {
			select {
			case <-unblock:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// resumeAfter makes the loop resume t's job when ctx ends, unless stop is called
// first. One spurious resume may still come after stop.
func (t *task) resumeAfter(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	s := context.AfterFunc(ctx, func() { t.loop.send(message{resume: t}) })
	return func() { s() }
}

// Sleep pauses the job that ctx carries for at least d. It must be called inside
// that job; elsewhere it returns ErrNotInJob. It returns ctx's error if ctx ends
// first, and jobs.ErrCanceled if the job is cancelled.
func Sleep(ctx context.Context, d time.Duration) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	l := t.loop
	until := l.after(d)
	if t.job.PauseBlocked() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.setTimer(&t.timer, until)
	defer l.stopTimer(&t.timer)
	return t.until(ctx, func() bool { return l.now >= until }, nil)
}
