package loop_test

import (
	"context"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Jobs hand requests in; the gathered requests are done when nothing else is
// left to do, and never later.
func TestBeforeSleep(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	var gathered []callback
	var batches []int
	busy := 0 // jobs that could go on without the batch
	l.BeforeSleep(func() {
		if busy > 0 {
			t.Errorf("called with %d jobs ready", busy)
		}
		if len(gathered) > 0 {
			batches = append(batches, len(gathered))
		}
		for _, wake := range gathered {
			wake()
		}
		gathered = gathered[:0]
	})
	looptest.Start(t, l)
	const jobsAtATime, rounds = 8, 20
	var all []<-chan error
	looptest.Call(t, l, func() {
		for range jobsAtATime {
			all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				for range rounds {
					wake, err := takeCallback(j)
					if err != nil {
						return err
					}
					done := false
					gathered = append(gathered, func() { done = true; busy++; wake() })
					if err := await(j, func() bool { return done }); err != nil {
						return err
					}
					busy--
				}
				return nil
			}))
		}
	})
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	looptest.Call(t, l, func() {
		sum := 0
		for _, n := range batches {
			sum += n
		}
		if sum != jobsAtATime*rounds {
			t.Errorf("%d requests were done, want %d", sum, jobsAtATime*rounds)
		}
		if len(batches) != rounds {
			t.Errorf("%d batches, want %d of %d: %v", len(batches), rounds, jobsAtATime, batches)
		}
	})
}

func TestBeforeSleepPanics(t *testing.T) {
	var out testkit.Log
	l := looptest.NewIdle(t, loop.Config{Logger: out.Logger()})
	calls := 0
	l.BeforeSleep(func() {
		if calls++; calls == 1 {
			panic("in a hook")
		}
	})
	looptest.Start(t, l)
	testkit.Eventually(t, "the loop has gone to sleep", func() bool { return out.String() != "" })
	looptest.Settle(t, l)
	wantOneLine(t, l, &out, "level=ERROR", "in a hook")
}
