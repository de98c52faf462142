package multibuffer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A job that is resumed for another reason goes on waiting.
func TestSpuriousResume(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{PollInterval: time.Nanosecond}) // a job that must be polled is, in each turn
	k := newKey(t, e, "2048a")
	stop := keepBusy(t, l)
	var job jobs.Job
	all := together(t, l, 1, func(ctx context.Context, _ int) error {
		job, _ = jobs.FromContext(ctx)
		if err := signs(ctx, k); err != nil {
			return err
		}
		if job.WaitCtx().CallbackTaken() {
			return errors.New("the callback has stayed taken")
		}
		return nil
	})
	for range 5 {
		looptest.Call(t, l, func() { l.Ready(job) })
		looptest.Settle(t, l)
		looptest.Call(t, l, func() {
			if b := batcherIn(e, l); b.waiting != 1 || b.queues[0].head.state != stateWaiting {
				t.Errorf("%d requests wait, want 1", b.waiting)
			}
			if !job.WaitCtx().CallbackTaken() {
				t.Error("the loop polls a job that is to be called")
			}
		})
	}
	wantSizes(t, e, nil)
	stop()
	mustAll(t, all)
	wantSizes(t, e, map[int]uint64{1: 1})
}

// Where the job cannot pause, Sign blocks; and leaves no trace.
func TestPauseBlocked(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		looptest.Must(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			j.BlockPause()
			for range 2 {
				if err := signs(ctx, k); err != nil {
					return err
				}
			}
			if j.WaitCtx().CallbackTaken() {
				t.Error("the callback has been taken for nothing: the job's next pause may be for ever")
			}
			j.UnblockPause()
			// What another has taken stays taken.
			j.WaitCtx().Callback()
			j.BlockPause()
			if err := signs(ctx, k); err != nil {
				return err
			}
			if !j.WaitCtx().CallbackTaken() {
				t.Error("somebody else's callback has been given back")
			}
			j.UnblockPause()
			return signs(ctx, k)
		})
		wantSizes(t, e, map[int]uint64{1: 1})
		if s := e.Stats(); s.Direct != 3 || s.Canceled != 0 {
			t.Errorf("%+v, want 3 direct ones", s)
		}
		wantIdle(t, e, l)
	})
}
