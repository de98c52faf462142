package loop_test

import (
	"context"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Ten thousand jobs that wait, and no event: the loop does not turn.
func TestPausedJobsCostNothing(t *testing.T) {
	n := 10_000
	if testkit.RaceEnabled {
		n = 5000
	}
	l := looptest.New(t, loop.Config{MaxJobs: n})
	finish := false
	wakes := make([]callback, 0, n/2)
	looptest.Call(t, l, func() {
		for i := range n {
			if err := l.Go(func(ctx context.Context) error {
				if i%2 == 0 {
					err := loop.Sleep(ctx, time.Hour)
					if finish {
						return nil
					}
					return err
				}
				j, _ := jobs.FromContext(ctx)
				wake, err := takeCallback(j)
				if err != nil {
					return err
				}
				wakes = append(wakes, wake)
				return await(j, func() bool { return finish })
			}); err != nil {
				t.Error(err)
			}
		}
	})
	testkit.Eventually(t, "all wait", func() bool { return l.Stats().JobsPaused == uint64(n) })

	// Turns between two calls are those of the second, were it not for others.
	before := looptest.Settle(t, l)
	after := looptest.Settle(t, l)
	if turns := after.Turns - before.Turns; turns > 4 {
		t.Errorf("%d turns for 2 calls", turns)
	}
	wantFewTurns(t, l)
	if s := looptest.Settle(t, l); s.JobsPaused != uint64(n) || s.Events-before.Events > 10 {
		t.Errorf("%+v", s)
	}

	looptest.Call(t, l, func() {
		finish = true
		for _, wake := range wakes {
			wake()
		}
	})
	testkit.Eventually(t, "half have ended", func() bool { return l.Stats().JobsPaused == uint64(n/2) })
	l.Close()
}
