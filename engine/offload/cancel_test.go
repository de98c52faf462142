package offload_test

import (
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// Jobs that are cancelled get their error at once. Their operations leave the
// queue; the result of the one that is under way is dropped.
func TestCancel(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Workers: 1, Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		running := r.Go(signing(k))
		testkit.Receive(t, g.entered)
		results := []<-chan error{running, r.Go(signing(k)), r.Go(signing(k))}
		wantStats(t, e, "2 queued, 1 running")
		r.Cancel()
		for _, c := range results {
			testkit.WantErr(t, testkit.Receive(t, c), jobs.ErrCanceled)
		}
		wantStats(t, e, "3 operations, 3 canceled, 1 running")
		g.open()
		wantStats(t, e, "3 operations, 3 canceled, 1 dropped")
		if n := g.n.Load(); n != 1 {
			t.Errorf("the signer was called %d times, want once", n)
		}
		if err := sign(k); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A signer whose job has gone may still be one that does not return.
func TestCanceledAndStuck(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Workers: 1, Timeout: 500 * time.Millisecond, Wake: mode})
		g := newGate(t)
		done := r.Go(signing(newKey(t, e, g)))
		testkit.Receive(t, g.entered)
		r.Cancel()
		testkit.WantErr(t, testkit.Receive(t, done), jobs.ErrCanceled)
		wantStats(t, e, "1 operations, 1 canceled, 1 stuck")
		if err := sign(newKey(t, e, testkit.ECDSAKey())); err != nil {
			t.Errorf("the replacement: %v", err)
		}
		g.open()
		wantStats(t, e, "2 operations, 1 canceled, 1 dropped")
	})
}
