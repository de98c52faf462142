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

// repeat is the job of a closed loop's connection: one visit after another.
func (w *worker) repeat(ctx context.Context, delay time.Duration) {
	s := w.stage
	if delay > 0 && loop.Sleep(ctx, delay) != nil {
		return
	}
	for first := true; ; first = false {
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
		if w.do(ctx, v) == nil {
			if v.held != nil { // the next begins when that ends
				return
			}
			if w.letClose(ctx) != nil {
				return
			}
			continue
		}
		pause := errorPause
		if !s.end.IsZero() {
			pause = min(pause, time.Until(s.end))
		}
		if loop.Sleep(ctx, pause) != nil {
			return
		}
	}
}
