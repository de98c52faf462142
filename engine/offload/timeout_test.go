package offload_test

import (
	"crypto"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

// A signer that does not return costs its own operation, and no worker.
func TestTimeout(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		withTimeout(t, 50*time.Millisecond, func(timeout time.Duration) bool {
			e := newEngine(t, offload.Config{Workers: 1, Timeout: timeout, Wake: mode})
			g := newGate(t)
			err := testkit.Receive(t, r.Go(signing(newKey(t, e, g))))
			testkit.WantErr(t, err, offload.ErrTimeout, os.ErrDeadlineExceeded)
			if strings.Contains(err.Error(), offload.ErrStuck.Error()) || !strings.Contains(err.Error(), timeout.String()) {
				t.Errorf("error %q, want one that tells how long it took", err)
			}
			if !g.hasEntered() {
				return false
			}
			wantStats(t, e, "1 operations, 1 timeouts, 1 stuck")
			good := newKey(t, e, testkit.ECDSAKey())
			testkit.Eventually(t, "an operation by the worker's replacement", func() bool {
				return testkit.Receive(t, r.Go(signing(good))) == nil
			})
			g.open()
			testkit.Eventually(t, "the worker's return", func() bool {
				s := e.Stats()
				return s.Stuck == 0 && s.Dropped == 1
			})
			return true
		})
	})
}

func TestTimeoutOutsideJobs(t *testing.T) {
	testkit.CheckLeaks(t)
	withTimeout(t, 10*time.Millisecond, func(timeout time.Duration) bool {
		e := newEngine(t, offload.Config{Workers: 1, Timeout: timeout})
		g := newGate(t)
		testkit.WantErr(t, sign(newKey(t, e, g)), offload.ErrTimeout)
		if !g.hasEntered() {
			return false
		}
		g.open()
		wantStats(t, e, "1 operations, 1 timeouts, 1 dropped")
		return true
	})
}

// No more than MaxStuck workers are replaced. When none is left, operations
// end at their timeout, until a signer returns.
func TestMaxStuck(t *testing.T) {
	for _, tt := range []struct {
		workers, maxStuck int
		signers           int // that can hang
	}{
		{workers: 2, maxStuck: 1, signers: 3},
		{workers: 1, maxStuck: -1, signers: 1},
		{workers: 2, maxStuck: 0, signers: 4},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.maxStuck, tt.workers), func(t *testing.T) {
			onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
				withTimeout(t, 30*time.Millisecond, func(timeout time.Duration) bool {
					e := newEngine(t, offload.Config{
						Workers: tt.workers, MaxStuck: tt.maxStuck, Timeout: timeout, Wake: mode,
					})
					g := newGate(t)
					k := newKey(t, e, g)
					for i := range tt.signers {
						err := testkit.Receive(t, r.Go(signing(k)))
						testkit.WantErr(t, err, offload.ErrTimeout)
						if !g.hasEntered() {
							return false
						}
						if s := e.Stats(); s.Stuck != i+1 {
							t.Errorf("%d workers are stuck, want %d", s.Stuck, i+1)
						}
					}
					for range 2 {
						err := testkit.Receive(t, r.Go(signing(k)))
						testkit.WantErr(t, err, offload.ErrTimeout, offload.ErrStuck)
					}
					if n := int(g.n.Load()); n != tt.signers {
						t.Errorf("the signer was called %d times, want %d", n, tt.signers)
					}
					g.through <- struct{}{}
					good := newKey(t, e, testkit.ECDSAKey())
					testkit.Eventually(t, "an operation by the worker that has returned", func() bool {
						return testkit.Receive(t, r.Go(signing(good))) == nil
					})
					g.open()
					testkit.Eventually(t, "the workers' return", func() bool {
						s := e.Stats()
						return s.Stuck == 0 && s.Dropped >= uint64(tt.signers) // a slow machine drops more
					})
					return true
				})
			})
		})
	}
}

// Operations that wait for a stuck worker are taken up by its replacement.
func TestReplacementServesTheQueue(t *testing.T) {
	testkit.CheckLeaks(t)
	withTimeout(t, 50*time.Millisecond, func(timeout time.Duration) bool {
		e := newEngine(t, offload.Config{Workers: 1, Timeout: timeout})
		g := newGate(t)
		stuck, good := newKey(t, e, g), newKey(t, e, testkit.ECDSAKey())
		first := make(chan error, 1)
		go func() { first <- sign(stuck) }()
		// Later ones wait for the worker. The first of them may run out of time
		// together with it, the last cannot.
		later := make(chan error, 1)
		go func() {
			<-g.entered
			var err error
			for range 100 {
				if err = sign(good); err == nil {
					break
				}
			}
			later <- err
		}()
		testkit.WantErr(t, testkit.Receive(t, first), offload.ErrTimeout)
		if g.n.Load() == 0 {
			g.entered <- 0 // the later ones may end
			testkit.Receive(t, later)
			return false
		}
		if err := testkit.Receive(t, later); err != nil {
			t.Error(err)
		}
		return true
	})
}

// Many operations that end in all ways at about the same time: each is
// answered, once.
func TestRaces(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		const n = 300
		e := newEngine(t, offload.Config{Workers: 4, Timeout: 2 * time.Millisecond, Wake: mode})
		k := newKey(t, e, signerFunc(func(rand io.Reader, d []byte, opts crypto.SignerOpts) ([]byte, error) {
			time.Sleep(time.Duration(randN(3000)) * time.Microsecond)
			if randN(20) == 0 {
				panic("now and then")
			}
			return testkit.ECDSAKey().Sign(rand, d, opts)
		}))
		var results []<-chan error
		for i := range n {
			results = append(results, r.Go(signing(k)))
			if i%7 == 0 {
				r.Resume()
			}
			if i%16 == 15 { // or all would wait in the queue until it is too late
				receiveFirst(t, results[i-8:i])
			}
		}
		r.Resume()
		var failed uint64
		for _, c := range results {
			if testkit.Receive(t, c) != nil {
				failed++
			}
		}
		testkit.Eventually(t, "the end", func() bool {
			s := e.Stats()
			return s.Running == 0 && s.Stuck == 0
		})
		s := e.Stats()
		if s.Operations != n || s.Timeouts+s.Panics != failed || s.Errors != 0 || s.Canceled != 0 {
			t.Errorf("%d of %d operations have failed, counts are %s", failed, n, stats(e))
		}
		t.Log(stats(e))
	})
}

func randN(n int) int { return rand.IntN(n) }

// receiveFirst waits until the first of the results is there, and puts it
// back.
func receiveFirst(t testing.TB, results []<-chan error) {
	t.Helper()
	testkit.Eventually(t, "a result", func() bool { return len(results[0]) > 0 })
}
