package loop_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A hook that removes itself, or another one, does not keep the rest from being
// called.
func TestHooksRemoveThemselves(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	for name, add := range map[string]func(func()) func(){"BeforeSleep": l.BeforeSleep, "AfterJobs": l.AfterJobs} {
		var calls []string
		var stopA, stopB func()
		stopA = add(func() { calls = append(calls, "a"); stopA() })
		stopB = add(func() { calls = append(calls, "b"); stopB() })
		stopC := add(func() { calls = append(calls, "c") })
		defer func() {
			looptest.Call(t, l, stopC)
			looptest.Call(t, l, func() {
				if len(calls) < 3 || !slices.Equal(calls[:3], []string{"a", "b", "c"}) {
					t.Errorf("%s: called %v at first, want a, b, c", name, calls)
				}
				if slices.Contains(calls[min(3, len(calls)):], "a") || slices.Contains(calls[min(3, len(calls)):], "b") {
					t.Errorf("%s: called after its end: %v", name, calls)
				}
			})
		}()
	}
	looptest.Start(t, l)
	looptest.Settle(t, l)
	looptest.Settle(t, l)
}

// What AfterJobs calls finds that the jobs which were ready have run, and is
// in no job itself.
func TestAfterJobs(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran, seen := 0, []int(nil)
	l.AfterJobs(func() {
		if l.Current() != (jobs.Job{}) {
			t.Error("called inside a job")
		}
		seen = append(seen, ran)
	})
	looptest.Start(t, l)
	var all []<-chan error
	looptest.Call(t, l, func() {
		for range 5 {
			all = append(all, looptest.Spawn(t, l, func(context.Context) error { ran++; return nil }))
		}
	})
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	looptest.Settle(t, l)
	looptest.Call(t, l, func() {
		if seen[len(seen)-1] != 5 {
			t.Errorf("saw %v jobs done", seen)
		}
	})
}

func TestReady(t *testing.T) {
	l, other := looptest.New(t, loop.Config{}), looptest.New(t, loop.Config{})
	var paused []jobs.Job
	var order []int
	var all []<-chan error
	looptest.Call(t, l, func() {
		for i := range 4 {
			all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				paused = append(paused, j)
				j.WaitCtx().Callback() // or it would be polled
				if err := j.Pause(); err != nil {
					return err
				}
				order = append(order, i)
				return nil
			}))
		}
	})
	looptest.Settle(t, l)
	looptest.Call(t, other, func() {
		for _, j := range paused {
			other.Ready(j) // not this loop's
		}
	})
	looptest.Settle(t, l)
	looptest.Call(t, l, func() {
		if len(paused) != 4 || len(order) != 0 {
			t.Fatalf("%d jobs have paused, %d have gone on", len(paused), len(order))
		}
		for _, i := range []int{2, 0, 3, 0, 1} {
			l.Ready(paused[i])
		}
		l.Ready(jobs.Job{})
	})
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	looptest.Call(t, l, func() {
		if want := []int{2, 0, 3, 1}; !slices.Equal(order, want) {
			t.Errorf("went on in the order %v, want %v", order, want)
		}
		l.Ready(paused[0]) // it has ended
	})
}

func TestLocal(t *testing.T) {
	type key struct{}
	l, other := looptest.New(t, loop.Config{}), looptest.New(t, loop.Config{})
	looptest.Call(t, l, func() {
		if v := l.Local(key{}); v != nil {
			t.Errorf("%v before it was set", v)
		}
		l.SetLocal(key{}, 1)
		l.SetLocal(key{}, 2)
	})
	looptest.Call(t, l, func() {
		if v := l.Local(key{}); v != 2 {
			t.Errorf("%v, want 2", v)
		}
	})
	looptest.Call(t, other, func() {
		if v := other.Local(key{}); v != nil {
			t.Errorf("another loop has %v", v)
		}
	})
}
