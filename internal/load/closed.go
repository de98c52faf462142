package load

import (
	"context"
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// This file is the closed loop: a fixed number of connections, each followed by the
// next.

// errorPause is how long a closed loop's connection waits after a failure. Without
// it, a server that refuses connections would get a hundred thousand attempts a
// second.
const errorPause = 100 * time.Millisecond

// waitForOthers pauses the job until the loop has started all jobs of the stage, or
// the stage is over.
func (w *worker) waitForOthers(ctx context.Context) error {
	j, _ := jobs.FromContext(ctx)
	wake, arg, _ := j.WaitCtx().Callback()
	w.wakes = append(w.wakes, func() { wake(arg) })
	return j.Pause() // a resume for another reason does no harm
}

func (w *worker) wakeWaiting() {
	for _, wake := range w.wakes {
		wake()
	}
	w.wakes = w.wakes[:0]
}

// pauseAfter returns how long a closed loop's connection waits after a visit.
func (w *worker) pauseAfter(err error) time.Duration {
	switch s := w.stage; {
	case err == nil:
		return 0
	case s.end.IsZero():
		return errorPause
	default:
		return min(errorPause, time.Until(s.end))
	}
}

// pause waits before a closed loop's connection makes its next visit.
func (w *worker) pause(ctx context.Context, d time.Duration) error {
	if d > 0 {
		if err := loop.Sleep(ctx, d); err != nil {
			return err
		}
	}
	return w.letClose(ctx)
}

// repeat is the job of a closed loop's connection: one visit after another, until one's
// connection is parked. The next job goes on from there.
func (w *worker) repeat(ctx context.Context, delay time.Duration, first bool) {
	s := w.stage
	if w.pause(ctx, delay) != nil {
		return
	}
	for ; ; first = false {
		now := time.Now()
		if w.run.stopping.Load() || s.over(now) {
			return
		}
		if !first && w.queue > 0 {
			// The loop runs work in progress before new jobs. If the first
			// connections went on without a pause, the others would never begin.
			if w.waitForOthers(ctx) != nil {
				return
			}
			continue
		}
		v := new(visit)
		if s.count > 0 && !now.Before(s.start) {
			if w.left == 0 {
				return
			}
			w.left--
			v.measured = true
		}
		err := w.do(ctx, v)
		if v.parked || w.pause(ctx, w.pauseAfter(err)) != nil {
			return
		}
	}
}
