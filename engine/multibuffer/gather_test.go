package multibuffer

import (
	"context"
	"crypto"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// bothModes runs a test with and without Config.Worker.
func bothModes(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Run("loop", func(t *testing.T) { f(t, Config{}) })
	t.Run("worker", func(t *testing.T) { f(t, Config{Worker: true}) })
}

// Requests are computed in eights, and what is left when the loop would sleep:
// four at a time, which take half as long.
func TestBatchesFill(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		for _, n := range []int{1, 2, 7, 8, 9, 16, 64, 71} {
			e := newEngine(t, cfg)
			l := newLoop(t, loop.Config{})
			k := newKey(t, e, "2048a")
			mustAll(t, together(t, l, n, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
			want := map[int]uint64{8: uint64(n / 8)}
			rest := n % 8
			if rest > 4 {
				want[4]++
				rest -= 4
			}
			if rest > 0 {
				want[rest]++
			}
			wantSizes(t, e, want)
			wantIdle(t, e, l)
		}
	})
}

// Eight are not kept waiting by a loop that never sleeps; seven are.
func TestFullBatchDoesNotWaitForIdleness(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := newLoop(t, loop.Config{})
		k := newKey(t, e, "2048a")
		stop := keepBusy(t, l)
		mustAll(t, together(t, l, 8, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		wantSizes(t, e, map[int]uint64{8: 1})
		all := together(t, l, 15, func(ctx context.Context, _ int) error { return signs(ctx, k) })
		mustAll(t, all[:8])
		settle(t, l)
		wantSizes(t, e, map[int]uint64{8: 2})
		call(t, l, func() {
			if b := batcherIn(e, l); b.waiting != 7 {
				t.Errorf("%d requests wait, want 7", b.waiting)
			}
		})
		stop()
		mustAll(t, all[8:])
		wantSizes(t, e, map[int]uint64{8: 2, 4: 1, 3: 1})
	})
}

// On a loop that never sleeps, a request waits for maxWait and not longer.
func TestOldRequestsDoNotWait(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		var now atomic.Int64
		e.now = func() time.Duration { return time.Duration(now.Load()) }
		l := newLoop(t, loop.Config{})
		k := newKey(t, e, "2048a")
		keepBusy(t, l)
		all := together(t, l, 3, func(ctx context.Context, _ int) error { return signs(ctx, k) })
		wantWaiting(t, e, l, 3)
		now.Store(int64(maxWait) - 1)
		settle(t, l)
		wantSizes(t, e, nil)
		now.Store(int64(maxWait))
		mustAll(t, all)
		wantSizes(t, e, map[int]uint64{3: 1})
		if got := e.Stats().Waited; got != 3*maxWait {
			t.Errorf("requests waited %v, want %v", got, 3*maxWait)
		}
	})
}

// Keys of different sizes have different batches, different keys of one size
// do not.
func TestMixedKeys(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		bits := make(map[int]int)
		cfg.OnBatch = func(b Batch) { bits[b.Bits] += b.Requests }
		e := newEngine(t, cfg)
		l := newLoop(t, loop.Config{})
		var keys []*Key
		for _, name := range allKeys {
			keys = append(keys, newKey(t, e, name))
		}
		mustAll(t, together(t, l, 32, func(ctx context.Context, i int) error { return signs(ctx, keys[i%4]) }))
		wantSizes(t, e, map[int]uint64{8: 4})
		mustAll(t, together(t, l, 8, func(ctx context.Context, i int) error { return signs(ctx, keys[i%4]) }))
		wantSizes(t, e, map[int]uint64{8: 4, 4: 1, 2: 2})
		settle(t, l)
		call(t, l, func() {
			if want := map[int]int{2048: 20, 3072: 10, 4096: 10}; !maps.Equal(bits, want) {
				t.Errorf("OnBatch was told of %v, want %v", bits, want)
			}
		})
		wantIdle(t, e, l)
	})
}

// Jobs go on in the order of their requests, whether those were computed at
// rest or in eights. A batch of other keys may come first.
func TestOrder(t *testing.T) {
	e := newEngine(t, Config{})
	l := newLoop(t, loop.Config{})
	keys := []*Key{newKey(t, e, "3072"), newKey(t, e, "2048a")}
	for _, n := range []int{5, 16, 40} {
		var order [2][]int
		mustAll(t, together(t, l, n, func(ctx context.Context, i int) error {
			err := signs(ctx, keys[i%2])
			order[i%2] = append(order[i%2], i)
			return err
		}))
		for _, o := range order {
			if len(o) < n/2 || !slices.IsSorted(o) {
				t.Errorf("of %d jobs, those with one key go on in the order %v", n, o)
			}
		}
	}
}

// Of several batches that can be computed, that of the oldest request comes
// first.
func TestOldestFirst(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		var got []int
		cfg.OnBatch = func(b Batch) { got = append(got, b.Bits) }
		e := newEngine(t, cfg)
		l := newLoop(t, loop.Config{})
		keys := []*Key{newKey(t, e, "3072"), newKey(t, e, "4096"), newKey(t, e, "2048a")}
		var want []int
		for range keys {
			keys = append(keys[1:], keys[0])
			mustAll(t, together(t, l, 3, func(ctx context.Context, i int) error { return signs(ctx, keys[i]) }))
			for _, k := range keys {
				want = append(want, keySizes[k.size])
			}
		}
		settle(t, l)
		call(t, l, func() {
			if !slices.Equal(got, want) {
				t.Errorf("batches of %v bits, want %v", got, want)
			}
		})
	})
}

// OnBatch comes when the batch's jobs have been made ready, outside any job.
func TestOnBatch(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		var l *loop.Loop
		var got []Batch
		cfg.OnBatch = func(b Batch) {
			if l.Current() != (jobs.Job{}) {
				t.Error("called inside a job")
			}
			got = append(got, b)
		}
		e := newEngine(t, cfg)
		var now atomic.Int64
		e.now = func() time.Duration { return time.Duration(now.Load()) }
		e.do = func(u *rsax8.Unit, reqs []*rsax8.Request) {
			u.Do(reqs)
			now.Add(100)
		}
		l = newLoop(t, loop.Config{})
		k := newKey(t, e, "3072")
		mustAll(t, together(t, l, 2, func(ctx context.Context, _ int) error {
			now.Add(5)
			return signs(ctx, k)
		}))
		settle(t, l)
		call(t, l, func() {
			if want := []Batch{{Requests: 2, Bits: 3072, Waited: 5, Took: 100}}; !slices.Equal(got, want) {
				t.Errorf("OnBatch was told %+v, want %+v", got, want)
			}
			if got := e.Stats().Waited; got != 105+100 {
				t.Errorf("requests waited %d, want 205", got)
			}
		})
	})
}

// A panic in OnBatch is the observer's: no job waits for ever.
func TestOnBatchPanics(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		cfg.OnBatch = func(Batch) { panic("observer") }
		e := newEngine(t, cfg)
		var out logged
		l := newLoop(t, loop.Config{Logger: out.logger()})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 19, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		wantSizes(t, e, map[int]uint64{8: 2, 3: 1})
		settle(t, l)
		if !strings.Contains(out.String(), "observer") {
			t.Errorf("logged: %s", &out)
		}
	})
}

// Fewer than MinBatch are left to crypto/rsa.
func TestMinBatch(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		cfg.MinBatch = 3
		e := newEngine(t, cfg)
		l := newLoop(t, loop.Config{})
		small, big := newKey(t, e, "2048a"), newKey(t, e, "3072")
		var order []int
		mustAll(t, together(t, l, 5, func(ctx context.Context, i int) error {
			k := small
			if i < 2 {
				k = big
			}
			err := signs(ctx, k)
			order = append(order, i)
			return err
		}))
		wantSizes(t, e, map[int]uint64{3: 1})
		if s := e.Stats(); s.Alone != 2 || s.Direct != 0 {
			t.Errorf("%+v, want 2 alone", s)
		}
		if !cfg.Worker && !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
		wantIdle(t, e, l)
	})
}

// Whatever MinBatch is, no batch is smaller, and no request is left alone that
// could be in one.
func TestMinBatchIsKept(t *testing.T) {
	for least := 1; least <= 8; least++ {
		e := newEngine(t, Config{MinBatch: least})
		l := newLoop(t, loop.Config{})
		k := newKey(t, e, "2048a")
		alone := 0
		for n := 1; n <= 8; n++ {
			mustAll(t, together(t, l, n, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
			if n < least {
				alone += n
			}
		}
		s := e.Stats()
		for n, batches := range s.BatchSizes {
			if batches > 0 && n < least {
				t.Errorf("MinBatch %d: %d batches of %d", least, batches, n)
			}
		}
		if s.Alone != uint64(alone) {
			t.Errorf("MinBatch %d: %d alone, want %d", least, s.Alone, alone)
		}
	}
}

// A result that does not verify never leaves, and crypto/rsa makes another.
func TestFaultyResults(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		var got []Batch
		cfg.OnBatch = func(b Batch) { got = append(got, b) }
		e := newEngine(t, cfg)
		e.do = func(u *rsax8.Unit, reqs []*rsax8.Request) {
			u.Do(reqs)
			for i, r := range reqs {
				if i%3 == 0 {
					r.OK = false // and what is in Out is wrong
					for j := range r.Out {
						r.Out[j] ^= 0x55
					}
				}
			}
		}
		l := newLoop(t, loop.Config{})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 8, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		if s := e.Stats(); s.Fallbacks != 3 || s.Operations != 5 || s.Direct != 0 {
			t.Errorf("%+v, want 3 fallbacks and 5 operations", s)
		}
		settle(t, l)
		call(t, l, func() {
			if len(got) != 1 || got[0].Fallbacks != 3 {
				t.Errorf("OnBatch was told %+v", got)
			}
		})
		wantIdle(t, e, l)
	})
}

// Nothing of a batch whose computation panics is used, whatever it says.
func TestComputationPanics(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		calls := 0
		e.do = func(u *rsax8.Unit, reqs []*rsax8.Request) {
			if calls++; calls > 2 {
				u.Do(reqs)
				return
			}
			for _, r := range reqs {
				r.OK = true
			}
			panic("kernel defect")
		}
		var out logged
		l := newLoop(t, loop.Config{Logger: out.logger()})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 11, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		if s := e.Stats(); s.Fallbacks != 11 || s.Operations != 0 || s.Batches != 2 {
			t.Errorf("%+v, want 11 fallbacks in 2 batches", s)
		}
		settle(t, l)
		if !strings.Contains(out.String(), "kernel defect") || !strings.Contains(out.String(), "gather_test.go") {
			t.Errorf("neither the panic nor its stack is logged: %s", &out)
		}
		must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		if s := e.Stats(); s.Fallbacks != 11 || s.Operations != 1 {
			t.Errorf("%+v, want an operation after the panics", s)
		}
		wantIdle(t, e, l)
	})
}

// A job that is resumed for another reason goes on waiting.
func TestSpuriousResume(t *testing.T) {
	e := newEngine(t, Config{})
	l := newLoop(t, loop.Config{PollInterval: time.Nanosecond}) // a job that must be polled is, in each turn
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
		call(t, l, func() { l.Ready(job) })
		settle(t, l)
		call(t, l, func() {
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
		l := newLoop(t, loop.Config{})
		k := newKey(t, e, "2048a")
		must(t, l, func(ctx context.Context) error {
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

// The loop is not asked to come by before it sleeps when no request has been
// made for a while.
func TestBeforeSleepHookGoes(t *testing.T) {
	e := newEngine(t, Config{})
	l := newLoop(t, loop.Config{})
	k := newKey(t, e, "2048a")
	hooked := func() (on bool) {
		call(t, l, func() { on = batcherIn(e, l).stopSleep != nil })
		return on
	}
	for range 3 {
		must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		if !hooked() {
			t.Fatal("the hook goes with every request")
		}
		eventually(t, "the hook goes", func() bool { return !hooked() })
	}
	wantSizes(t, e, map[int]uint64{1: 3})
}

// Two engines on one loop: neither's hooks keep the other's from being called.
func TestTwoEngines(t *testing.T) {
	e, f := newEngine(t, Config{}), newEngine(t, Config{})
	l := newLoop(t, loop.Config{})
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
		checkLeaks(t)
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
			all = append(all, spawn(t, g.Loops()[i%2], func(ctx context.Context) error {
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
			call(t, l, func() { batchers = append(batchers, batcherIn(e, l)) })
		}
		if batchers[0] == batchers[1] {
			t.Error("two loops share a batcher")
		}
		if s := e.Stats(); s.Operations != 600 || s.Direct+s.Alone+s.Fallbacks+s.Canceled != 0 {
			t.Errorf("%+v, want 600 operations", s)
		}
		g.Close()
		if err := receive(t, ran); err != nil {
			t.Error(err)
		}
	})
}

// Many requests at a time leave no more memory behind than a few.
func TestMemoryIsBounded(t *testing.T) {
	e := newEngine(t, Config{})
	e.do = instantly
	l := newLoop(t, loop.Config{})
	k := newKey(t, e, "2048a")
	mustAll(t, together(t, l, 2000, func(ctx context.Context, _ int) error {
		_, err := k.ForContext(ctx).Sign(nil, digest, crypto.SHA256)
		return err
	}))
	wantSizes(t, e, map[int]uint64{8: 250})
	wantIdle(t, e, l)
	call(t, l, func() {
		if b := batcherIn(e, l); b.free.n != maxFree || cap(b.settled) > 1024 {
			t.Errorf("%d free requests, room for %d settled ones", b.free.n, cap(b.settled))
		}
	})
}

// instantly takes the place of Do where results do not matter.
func instantly(_ *rsax8.Unit, reqs []*rsax8.Request) {
	for _, r := range reqs {
		r.OK = true
	}
}

// A signature allocates itself, and nothing else.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	e := newEngine(t, Config{})
	e.do = instantly
	l := newLoop(t, loop.Config{})
	k := newKey(t, e, "2048a")
	must(t, l, func(ctx context.Context) error {
		bound := k.ForContext(ctx)
		if n := testing.AllocsPerRun(200, func() {
			if _, err := bound.Sign(nil, digest, crypto.SHA256); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("Sign allocates %v times", n)
		}
		if n := testing.AllocsPerRun(200, func() { bound = k.ForContext(ctx) }); n > 1 {
			t.Errorf("ForContext allocates %v times", n)
		}
		return nil
	})
	if s := e.Stats(); s.Operations != 201 {
		t.Errorf("%+v", s)
	}
}
