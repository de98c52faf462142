package offload_test

import (
	"context"
	"crypto"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A key that is bound to a job blocks in another job of the same pool, and
// after its job has ended, instead of pausing whom it does not know.
func TestBoundToItsJob(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, offload.Config{})
	k := newKey(t, e, testkit.ECDSAKey())
	pool, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var bound crypto.Signer
	owner, st, _ := pool.Start(nil, func(j jobs.Job) error {
		bound = k.ForContext(jobs.NewContext(context.Background(), j))
		return j.Pause()
	})
	if st != jobs.StatusPaused || bound == crypto.Signer(k) {
		t.Fatalf("status %v, key %v", st, bound)
	}
	if _, st, err := pool.Start(nil, func(jobs.Job) error { return sign(bound) }); st != jobs.StatusFinished || err != nil {
		t.Errorf("in another job: status %v, error %v, want finished", st, err)
	}
	if err := sign(bound); err != nil {
		t.Errorf("outside: %v", err)
	}
	if st, err := owner.Resume(); st != jobs.StatusFinished || err != nil {
		t.Errorf("its job: status %v, error %v, want finished", st, err)
	}
	if err := sign(bound); err != nil {
		t.Errorf("after its job: %v", err)
	}
}

// Whoever resumes a job without need does no harm.
func TestSpuriousResumes(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		g := newGate(t)
		results := []<-chan error{r.Go(signing(newKey(t, e, g)))}
		testkit.Receive(t, g.entered)
		for range 20 {
			r.Resume()
		}
		wantNone(t, results)
		g.open()
		drain(t, results)
		wantStats(t, e, "1 operations")
	})
}

// WakeFD leaves a callback alone.
func TestWakeFDWithACallback(t *testing.T) {
	testkit.CheckLeaks(t)
	r := newPollReactor(t).(*handReactor)
	r.do(func() {
		r.prepare = func(task *handTask) {
			task.wait.SetCallback(func(any) error {
				t.Error("the callback was called")
				return nil
			}, nil)
		}
	})
	k := newKey(t, newEngine(t, offload.Config{Wake: offload.WakeFD}), testkit.ECDSAKey())
	drain(t, []<-chan error{r.Go(signing(k))})
}

// A job that waits is not polled, not even after it was woken for nothing.
func TestNotPolled(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			e := newEngine(t, offload.Config{Wake: mode})
			g := newGate(t)
			k := newKey(t, e, g)
			var job jobs.Job
			done := make(chan error, 1)
			l.Go(looptest.Report(done, func(ctx context.Context) error {
				job, _ = jobs.FromContext(ctx)
				return sign(k.ForContext(ctx))
			}))
			testkit.Receive(t, g.entered)
			looptest.Settle(t, l)
			if err := l.Wake(job); err != nil {
				t.Fatal(err)
			}
			looptest.Settle(t, l)
			turns := make(chan uint64, 1)
			l.Post(func() {
				before := l.Stats().Turns
				l.AfterFunc(50*time.Millisecond, func() { turns <- l.Stats().Turns - before })
			})
			// A job that is polled makes one each millisecond.
			if n := testkit.Receive(t, turns); n > 10 {
				t.Errorf("%d turns while nothing happens", n)
			}
			g.open()
			drain(t, []<-chan error{done})
		})
	}
}

var wakeModes = map[string]offload.WakeMode{"callback": offload.WakeCallback, "fd": offload.WakeFD}

// Where pausing is blocked the operation blocks, and does not spin.
func TestPauseBlocked(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		done := r.Go(func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			j.BlockPause()
			defer j.UnblockPause()
			return sign(k.ForContext(ctx))
		})
		testkit.Receive(t, g.entered)
		wantBlocked(t, "offload.(*operation).pause")
		g.open()
		drain(t, []<-chan error{done})
	})
}
