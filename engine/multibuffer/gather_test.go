package multibuffer

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
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
			l := looptest.New(t, loop.Config{})
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
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		stop := keepBusy(t, l)
		mustAll(t, together(t, l, 8, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		wantSizes(t, e, map[int]uint64{8: 1})
		all := together(t, l, 15, func(ctx context.Context, _ int) error { return signs(ctx, k) })
		mustAll(t, all[:8])
		looptest.Settle(t, l)
		wantSizes(t, e, map[int]uint64{8: 2})
		looptest.Call(t, l, func() {
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
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		keepBusy(t, l)
		all := together(t, l, 3, func(ctx context.Context, _ int) error { return signs(ctx, k) })
		wantWaiting(t, e, l, 3)
		now.Store(int64(maxWait) - 1)
		looptest.Settle(t, l)
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
		l := looptest.New(t, loop.Config{})
		var keys []*Key
		for _, name := range allKeys {
			keys = append(keys, newKey(t, e, name))
		}
		mustAll(t, together(t, l, 32, func(ctx context.Context, i int) error { return signs(ctx, keys[i%4]) }))
		wantSizes(t, e, map[int]uint64{8: 4})
		mustAll(t, together(t, l, 8, func(ctx context.Context, i int) error { return signs(ctx, keys[i%4]) }))
		wantSizes(t, e, map[int]uint64{8: 4, 4: 1, 2: 2})
		looptest.Settle(t, l)
		looptest.Call(t, l, func() {
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
	l := looptest.New(t, loop.Config{})
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
		l := looptest.New(t, loop.Config{})
		keys := []*Key{newKey(t, e, "3072"), newKey(t, e, "4096"), newKey(t, e, "2048a")}
		var want []int
		for range keys {
			keys = append(keys[1:], keys[0])
			mustAll(t, together(t, l, 3, func(ctx context.Context, i int) error { return signs(ctx, keys[i]) }))
			for _, k := range keys {
				want = append(want, keySizes[k.size])
			}
		}
		looptest.Settle(t, l)
		looptest.Call(t, l, func() {
			if !slices.Equal(got, want) {
				t.Errorf("batches of %v bits, want %v", got, want)
			}
		})
	})
}
