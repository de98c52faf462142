package loop

import (
	"context"
	"sync/atomic"
	"time"
)

// What a job waits for outside the loop, and how it honours its context.

// Await pauses the job that ctx carries until done has been called. It calls
// begin at once, in the job, to begin what is to be waited for: on a goroutine,
// or by anything else that calls back.
//
//	err := loop.Await(ctx, func(done func()) {
//		go func() {
//			defer done()
//			answer, failure = db.Query(q)
//		}()
//	})
//
// done may be called from any goroutine, in begin too, and more than once. What
// happened before it is seen by the job. When Await returns an error, what begin
// has begun may go on, and done be called just now or later. The error is ctx's when ctx ends, jobs.ErrCanceled when the job is cancelled, and
// ErrNotInJob when Await is not called inside the job that ctx carries; then
// begin is not called. A job that waits here costs nothing.
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

// until pauses t's job, in which the caller is, until cond is true: whoever
// makes it so sends a message that resumes t. If the job may not pause, the
// thread waits for unblock.
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

// resumeAfter has t's job resumed when ctx ends, until the function it returns
// is called. After that it may be resumed once for nothing.
func (t *task) resumeAfter(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	s := context.AfterFunc(ctx, func() { t.loop.send(message{resume: t}) })
	return func() { s() }
}

// Sleep pauses the job that ctx carries for at least d. It is called from
// inside that job. It returns ctx's error when ctx ends before, and
// jobs.ErrCanceled when the job is cancelled.
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
