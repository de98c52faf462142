package multibuffer

import (
	"context"
	"errors"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// The loop is not asked to come by before it sleeps when no request has been
// made for a while.
func TestBeforeSleepHookGoes(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	hooked := func() (on bool) {
		looptest.Call(t, l, func() { on = batcherIn(e, l).stopSleep != nil })
		return on
	}
	for range 3 {
		looptest.Must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		if !hooked() {
			t.Fatal("the hook goes with every request")
		}
		testkit.Eventually(t, "the hook goes", func() bool { return !hooked() })
	}
	wantSizes(t, e, map[int]uint64{1: 3})
}

// Two engines on one loop: neither's hooks keep the other's from being called.
func TestTwoEngines(t *testing.T) {
	e, f := newEngine(t, Config{}), newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k, m := newKey(t, e, "2048a"), newKey(t, f, "2048b")
	for range 3 * keepHook {
		mustAll(t, together(t, l, 2, func(ctx context.Context, i int) error { return signs(ctx, []*Key{k, m}[i]) }))
	}
	wantSizes(t, e, map[int]uint64{1: 3 * keepHook})
	wantSizes(t, f, map[int]uint64{1: 3 * keepHook})
}

// Each loop of a group has a batcher of its own.
func TestGroup(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		k, m := newKey(t, e, "2048a"), newKey(t, e, "3072")
		testkit.CheckLeaks(t)
		g, err := loop.NewGroup(2, loop.Config{})
		if errors.Is(err, loop.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- g.Run(context.Background()) }()
		var all []<-chan error
		for i := range 100 {
			all = append(all, looptest.Spawn(t, g.Loops()[i%2], func(ctx context.Context) error {
				for range 3 {
					if err := errors.Join(signs(ctx, k), signs(ctx, m)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		mustAll(t, all)
		var batchers []*batcher
		for _, l := range g.Loops() {
			wantIdle(t, e, l)
			looptest.Call(t, l, func() { batchers = append(batchers, batcherIn(e, l)) })
		}
		if batchers[0] == batchers[1] {
			t.Error("two loops share a batcher")
		}
		if s := e.Stats(); s.Operations != 600 || s.Direct+s.Alone+s.Fallbacks+s.Canceled != 0 {
			t.Errorf("%+v, want 600 operations", s)
		}
		g.Close()
		if err := testkit.Receive(t, ran); err != nil {
			t.Error(err)
		}
	})
}
