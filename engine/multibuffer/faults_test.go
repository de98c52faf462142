package multibuffer

import (
	"context"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

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
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 8, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		if s := e.Stats(); s.Fallbacks != 3 || s.Operations != 5 || s.Direct != 0 {
			t.Errorf("%+v, want 3 fallbacks and 5 operations", s)
		}
		looptest.Settle(t, l)
		looptest.Call(t, l, func() {
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
		var out testkit.Log
		l := looptest.New(t, loop.Config{Logger: out.Logger()})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 11, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		if s := e.Stats(); s.Fallbacks != 11 || s.Operations != 0 || s.Batches != 2 {
			t.Errorf("%+v, want 11 fallbacks in 2 batches", s)
		}
		testkit.Eventually(t, "the panic and its stack are logged", func() bool {
			return strings.Contains(out.String(), "kernel defect") && strings.Contains(out.String(), "faults_test.go")
		})
		looptest.Must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		if s := e.Stats(); s.Fallbacks != 11 || s.Operations != 1 {
			t.Errorf("%+v, want an operation after the panics", s)
		}
		wantIdle(t, e, l)
	})
}
