package multibuffer

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

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
		l = looptest.New(t, loop.Config{})
		k := newKey(t, e, "3072")
		mustAll(t, together(t, l, 2, func(ctx context.Context, _ int) error {
			now.Add(5)
			return signs(ctx, k)
		}))
		looptest.Settle(t, l)
		looptest.Call(t, l, func() {
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
		var out testkit.Log
		l := looptest.New(t, loop.Config{Logger: out.Logger()})
		k := newKey(t, e, "2048a")
		mustAll(t, together(t, l, 19, func(ctx context.Context, _ int) error { return signs(ctx, k) }))
		wantSizes(t, e, map[int]uint64{8: 2, 3: 1})
		testkit.Eventually(t, "the panic is logged", func() bool { return strings.Contains(out.String(), "observer") })
	})
}
