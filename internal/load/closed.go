package load

import (
	"context"
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// This file is the closed loop: so many connections, each followed by its next.

// errorPause is how long a connection of a closed loop waits after a failure: a
// server that refuses is not asked a hundred thousand times a second.
const errorPause = 100 * time.Millisecond

// waitForOthers pauses the job until the loop has started all of the stage's, or
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

// repeat is a connection of a closed loop: one visit after another.
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
			// The loop puts work in progress first: connections that went on
			// and on would keep the others from beginning.
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
