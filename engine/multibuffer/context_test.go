package multibuffer

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A request whose context has ended is not computed: it leaves the queue, in
// whatever place, when its batch is made, and the others are served.
func TestContextEndsWhileItsRequestWaits(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		for victim := range 3 { // first, middle and last in the queue
			e := newEngine(t, cfg)
			var now atomic.Int64
			e.now = func() time.Duration { return time.Duration(now.Load()) }
			l := looptest.New(t, loop.Config{})
			k := newKey(t, e, "2048a")
			keepBusy(t, l)
			cancels := make([]context.CancelFunc, 3)
			all := together(t, l, 3, func(ctx context.Context, i int) error {
				ctx, cancels[i] = context.WithCancel(ctx)
				return signs(ctx, k)
			})
			wantWaiting(t, e, l, 3)
			looptest.Call(t, l, func() { cancels[victim]() })
			now.Store(int64(maxWait))
			for i, done := range all {
				switch err := testkit.Receive(t, done); {
				case i == victim && !errors.Is(err, context.Canceled):
					t.Errorf("Sign: %v, want context.Canceled", err)
				case i != victim && err != nil:
					t.Error(err)
				}
				looptest.Call(t, l, func() { cancels[i]() })
			}
			wantSizes(t, e, map[int]uint64{2: 1})
			if s := e.Stats(); s.Canceled != 1 {
				t.Errorf("%+v, want 1 canceled", s)
			}
			wantIdle(t, e, l)
		}
	})
}

// A deadline does the same; and if all requests are void there is no batch.
func TestDeadlinePassesWhileRequestsWait(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		stop := keepBusy(t, l)
		expire := make([]func(), 3)
		all := together(t, l, 3, func(ctx context.Context, i int) error {
			ctx, expire[i] = testkit.Expiring(ctx)
			return signs(ctx, k)
		})
		wantWaiting(t, e, l, 3)
		for i := range expire {
			expire[i]()
		}
		stop()
		for _, done := range all {
			if err := testkit.Receive(t, done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sign: %v, want context.DeadlineExceeded", err)
			}
		}
		wantSizes(t, e, nil)
		if s := e.Stats(); s.Canceled != 3 {
			t.Errorf("%+v, want 3 canceled", s)
		}
		wantIdle(t, e, l)
	})
}

// Eight requests of which one is void are no full batch: the seven go on waiting
// for company, as seven do.
func TestVoidRequestFillsNoBatch(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		keepBusy(t, l)
		var cancel context.CancelFunc
		sign := func(ctx context.Context, i int) error {
			if i == 3 {
				ctx, cancel = context.WithCancel(ctx)
			}
			return signs(ctx, k)
		}
		first := together(t, l, 7, sign)
		wantWaiting(t, e, l, 7)
		looptest.Call(t, l, func() { cancel() })
		eighth := together(t, l, 1, sign)
		if err := testkit.Receive(t, first[3]); !errors.Is(err, context.Canceled) {
			t.Errorf("Sign: %v, want context.Canceled", err)
		}
		wantWaiting(t, e, l, 7)
		wantSizes(t, e, nil)
		last := together(t, l, 1, sign)
		mustAll(t, append(append(append(first[:3:3], first[4:]...), eighth...), last...))
		wantSizes(t, e, map[int]uint64{8: 1})
		wantIdle(t, e, l)
	})
}

// A context ends while a worker computes. The result is dropped: at once, if the
// job is resumed meanwhile, or when it comes.
func TestContextEndsWhileAWorkerComputes(t *testing.T) {
	for name, resumed := range map[string]bool{"resumed": true, "not resumed": false} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, Config{Worker: true})
			g := newGate(e)
			l := looptest.New(t, loop.Config{})
			k := newKey(t, e, "2048a")
			var cancel context.CancelFunc
			var job jobs.Job
			done := looptest.Spawn(t, l, func(ctx context.Context) error {
				job, _ = jobs.FromContext(ctx)
				ctx, cancel = context.WithCancel(ctx)
				return signs(ctx, k)
			})
			testkit.Receive(t, g.began)
			looptest.Call(t, l, func() { cancel() })
			wantCanceled := func() {
				t.Helper()
				if err := testkit.Receive(t, done); !errors.Is(err, context.Canceled) {
					t.Errorf("Sign: %v, want context.Canceled", err)
				}
			}
			if resumed {
				l.Wake(job)
				wantCanceled()
				looptest.Call(t, l, func() {
					if r := batcherIn(e, l).batch.reqs[0]; !r.abandoned {
						t.Error("the worker's request has been freed")
					}
				})
			}
			g.release <- true
			if !resumed {
				wantCanceled()
			}
			testkit.Eventually(t, "the batch is the loop's again", func() bool { return e.Stats().Operations == 1 })
			if s := e.Stats(); s.Canceled != 1 {
				t.Errorf("%+v, want 1 canceled", s)
			}
			wantIdle(t, e, l)
		})
	}
}

// With a context that has ended nothing is begun, wherever the key is used.
func TestContextHasEnded(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	looptest.Must(t, l, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		bound := k.ForContext(ctx)
		cancel()
		elsewhere := make(chan error)
		for _, operation := range []func() error{
			func() error { return signsWith(bound) },
			func() error { return decryptsWith(bound) },
			func() error {
				go func() { elsewhere <- signsWith(bound) }()
				return <-elsewhere
			},
		} {
			if err := operation(); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
		}
		return nil
	})
	if s := e.Stats(); s != (Stats{}) {
		t.Errorf("%+v, want nothing", s)
	}
	wantIdle(t, e, l)
}

// A wake that came before Sign makes its first pause end at once, and wakes that
// come all the time disturb nothing.
func TestWakesAtAnyTime(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		looptest.Must(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			for _, wake := range []func(){
				func() { l.Wake(j) },
				func() {
					fn, arg, _ := j.WaitCtx().Callback()
					fn(arg)
				},
			} {
				wake()
				// The loop takes the wake up while this job runs, or first of all
				// when it has paused.
				if err := signs(ctx, k); err != nil {
					return err
				}
			}
			return nil
		})
		all := together(t, l, 8, func(ctx context.Context, _ int) error {
			j, _ := jobs.FromContext(ctx)
			stop, stopped := make(chan bool), make(chan bool)
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						l.Wake(j)
					}
				}
			}()
			defer func() { close(stop); <-stopped }()
			for range 10 {
				if err := signs(ctx, k); err != nil {
					return err
				}
			}
			return nil
		})
		mustAll(t, all)
		if s := e.Stats(); s.Operations != 82 || s.Direct+s.Alone+s.Fallbacks+s.Canceled != 0 {
			t.Errorf("%+v, want 82 operations", s)
		}
		wantIdle(t, e, l)
	})
}
