package offload_test

import (
	"context"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Close ends what is queued, and waits for what is under way.
func TestClose(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Workers: 2, Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		running := []<-chan error{r.Go(signing(k)), r.Go(signing(k))}
		testkit.Receive(t, g.entered)
		testkit.Receive(t, g.entered)
		queued := []<-chan error{r.Go(signing(k)), r.Go(signing(k))}
		wantStats(t, e, "2 queued, 2 running")
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- e.Close() }()
		}
		for _, c := range queued {
			testkit.WantErr(t, testkit.Receive(t, c), offload.ErrClosed)
		}
		testkit.WantErr(t, testkit.Receive(t, r.Go(signing(k))), offload.ErrClosed)
		testkit.WantErr(t, sign(k), offload.ErrClosed)
		wantNone(t, running)
		if len(closed) > 0 {
			t.Errorf("Close has returned %v, before the operations have ended", <-closed)
		}
		g.open()
		drain(t, running)
		for range 2 {
			if err := testkit.Receive(t, closed); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		wantStats(t, e, "4 operations, 2 errors")
		if err := e.Close(); err != nil {
			t.Errorf("Close once more: %v", err)
		}
	})
}

// Close waits for an operation whose job has gone.
func TestCloseAfterCancel(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, offload.Config{})
	g := newGate(t)
	r := newChanReactor(t)
	done := r.Go(signing(newKey(t, e, g)))
	testkit.Receive(t, g.entered)
	r.Cancel()
	testkit.WantErr(t, testkit.Receive(t, done), jobs.ErrCanceled)
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	testkit.Eventually(t, "a closed engine", func() bool { return sign(newKey(t, e, testkit.ECDSAKey())) != nil })
	if len(closed) > 0 {
		t.Errorf("Close has returned %v with a signer in use", <-closed)
	}
	g.open()
	if err := testkit.Receive(t, closed); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Close does not wait for ever, and says why it gave up.
func TestCloseWithStuckSigners(t *testing.T) {
	testkit.CheckLeaks(t)
	r := newChanReactor(t)
	withTimeout(t, 30*time.Millisecond, func(timeout time.Duration) bool {
		e := newEngine(t, offload.Config{Timeout: timeout})
		g := newGate(t)
		done := r.Go(signing(newKey(t, e, g)))
		select {
		case <-g.entered:
		case err := <-done:
			testkit.WantErr(t, err, offload.ErrTimeout)
			return false
		}
		testkit.WantErr(t, e.Close(), offload.ErrStuck)
		testkit.WantErr(t, testkit.Receive(t, done), offload.ErrTimeout)
		g.open()
		wantStats(t, e, "1 operations, 1 timeouts, 1 dropped")
		if err := e.Close(); err != nil {
			t.Errorf("Close when the signer has returned: %v", err)
		}
		return true
	})
}

func TestCloseIdle(t *testing.T) {
	for range 2 {
		if err := newEngine(t, offload.Config{}).Close(); err != nil {
			t.Error(err)
		}
	}
}

// An operation that is refused leaves the job as it was: the loop polls it
// when it waits for something that nobody tells.
func TestRefusedJobIsPolled(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			e := newEngine(t, offload.Config{Wake: mode})
			e.Close()
			k := newKey(t, e, testkit.ECDSAKey())
			done := make(chan error, 1)
			looptest.New(t, loop.Config{}).Go(looptest.Report(done, func(ctx context.Context) error {
				testkit.WantErr(t, sign(k.ForContext(ctx)), offload.ErrClosed)
				return pauseTwice(ctx)
			}))
			drain(t, []<-chan error{done})
		})
	}
}

// So does one that was done.
func TestServedJobIsPolled(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			k := newKey(t, newEngine(t, offload.Config{Wake: mode}), testkit.ECDSAKey())
			done := make(chan error, 1)
			looptest.New(t, loop.Config{}).Go(looptest.Report(done, func(ctx context.Context) error {
				if err := sign(k.ForContext(ctx)); err != nil {
					return err
				}
				return pauseTwice(ctx)
			}))
			drain(t, []<-chan error{done})
		})
	}
}

// pauseTwice pauses with nothing to be woken by. The first pause may be ended
// by a late callback.
func pauseTwice(ctx context.Context) error {
	j, _ := jobs.FromContext(ctx)
	if err := j.Pause(); err != nil {
		return err
	}
	return j.Pause()
}
