package multibuffer

import (
	"context"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Fewer than MinBatch are left to crypto/rsa.
func TestMinBatch(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		cfg.MinBatch = 3
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
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
		l := looptest.New(t, loop.Config{})
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
