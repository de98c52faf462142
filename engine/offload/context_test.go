package offload_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// ends are the ways in which a context ends.
var ends = map[error]func(parent context.Context) (ctx context.Context, end func()){
	context.Canceled: func(parent context.Context) (context.Context, func()) {
		return context.WithCancel(parent)
	},
	context.DeadlineExceeded: testkit.Expiring,
}

// An operation ends with the context its key is bound to, whether it is under way
// or queued, and the job goes on. What the signer returns later is dropped.
func TestContextEnds(t *testing.T) {
	for want, with := range ends {
		t.Run(want.Error(), func(t *testing.T) {
			onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
				e := newEngine(t, offload.Config{Workers: 1, Wake: mode})
				g := newGate(t)
				k := newKey(t, e, g)
				ready := make(chan func(), 1)
				start := func() <-chan error {
					return r.Go(func(ctx context.Context) error {
						ctx, end := with(ctx)
						ready <- end
						return sign(k.ForContext(ctx))
					})
				}
				running := start()
				endRunning := testkit.Receive(t, ready)
				testkit.Receive(t, g.entered)
				queued := start()
				endQueued := testkit.Receive(t, ready)
				testkit.Eventually(t, "a queued operation", func() bool { return e.Stats().Queued == 1 })
				endQueued()
				testkit.WantErr(t, testkit.Receive(t, queued), want)
				endRunning()
				testkit.WantErr(t, testkit.Receive(t, running), want)
				wantStats(t, e, "2 operations, 2 canceled, 1 running")
				g.open()
				wantStats(t, e, "2 operations, 2 canceled, 1 dropped")
				if n := g.n.Load(); n != 1 {
					t.Errorf("the signer was called %d times, want once", n)
				}
				drain(t, []<-chan error{r.Go(signing(k))})
			})
		})
	}
}

// So does one that blocks: on another goroutine, or where the job may not pause.
func TestContextEndsWhileBlocked(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		cancels := make(chan func(), 1)
		other := r.Go(func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			bound, done := k.ForContext(ctx), make(chan error)
			go func() { done <- sign(bound) }()
			cancels <- cancel
			return <-done
		})
		cancel := testkit.Receive(t, cancels)
		testkit.Receive(t, g.entered)
		cancel()
		testkit.WantErr(t, testkit.Receive(t, other), context.Canceled)

		blocked := r.Go(func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			j.BlockPause()
			defer j.UnblockPause()
			ctx, cancel := context.WithCancel(ctx)
			cancels <- cancel
			return sign(k.ForContext(ctx))
		})
		cancel = testkit.Receive(t, cancels)
		testkit.Receive(t, g.entered)
		wantBlocked(t, "offload.(*operation).pause")
		cancel()
		testkit.WantErr(t, testkit.Receive(t, blocked), context.Canceled)
		wantStats(t, e, "2 operations, 2 canceled, 2 running")
		g.open()
		wantStats(t, e, "2 operations, 2 canceled, 2 dropped")
	})
}

// With a context that has ended nothing is begun, wherever the key is used.
func TestContextHasEnded(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		k := newKey(t, e, testkit.ECDSAKey())
		var bound crypto.Signer
		drain(t, []<-chan error{r.Go(func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			bound = k.ForContext(ctx)
			err := sign(bound)
			cancel()
			testkit.WantErr(t, sign(bound), context.Canceled)
			return err
		})})
		testkit.WantErr(t, sign(bound), context.Canceled)
		wantStats(t, e, "1 operations")
	})
}

// A job whose operation has been given up is polled again when it waits for
// something that nobody tells, whoever has noticed first that the context ended.
func TestGivenUpJobIsPolled(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			e := newEngine(t, offload.Config{Workers: 20, Wake: mode})
			g := newGate(t)
			k := newKey(t, e, g)
			for range 20 {
				cancels := make(chan context.CancelFunc, 1)
				done := make(chan error, 1)
				var job jobs.Job
				l.Go(looptest.Report(done, func(ctx context.Context) error {
					job, _ = jobs.FromContext(ctx)
					c, cancel := context.WithCancel(ctx)
					cancels <- cancel
					testkit.WantErr(t, sign(k.ForContext(c)), context.Canceled)
					return pauseTwice(ctx)
				}))
				cancel := testkit.Receive(t, cancels)
				testkit.Receive(t, g.entered)
				l.Post(func() { cancel(); l.Ready(job) }) // before the callback
				drain(t, []<-chan error{done})
			}
			g.open()
		})
	}
}

// Operations, contexts and late wakes that end at about the same time: each
// operation is answered once, and counted as it was answered.
func TestContextRaces(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		const n = 200
		var gaveUp atomic.Uint64
		e := newEngine(t, offload.Config{Workers: 8, Wake: mode, OnOperation: func(op offload.Operation) {
			if errors.Is(op.Err, context.Canceled) {
				gaveUp.Add(1)
			}
		}})
		k := newKey(t, e, signerFunc(func(_ io.Reader, d []byte, opts crypto.SignerOpts) ([]byte, error) {
			time.Sleep(time.Duration(randN(400)) * time.Microsecond)
			return testkit.ECDSAKey().Sign(nil, d, opts)
		}))
		var results []<-chan error
		for i := range n {
			results = append(results, r.Go(func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				time.AfterFunc(time.Duration(randN(800))*time.Microsecond, cancel)
				return sign(k.ForContext(ctx))
			}))
			if i%7 == 0 {
				r.Resume()
			}
		}
		var canceled uint64
		for _, c := range results {
			if err := testkit.Receive(t, c); err != nil {
				testkit.WantErr(t, err, context.Canceled)
				canceled++
			}
		}
		testkit.Eventually(t, "the end", func() bool { return e.Stats().Running == 0 })
		s := e.Stats()
		if s.Canceled != gaveUp.Load() || s.Canceled > canceled || s.Operations-s.Canceled != n-canceled {
			t.Errorf("%d operations were given up, %d by their callers, counts are %s", gaveUp.Load(), canceled, stats(e))
		}
		t.Log(stats(e))
	})
}

// A handshake's context ends while the signature is awaited.
func TestHandshakeContextEnds(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		g := newGate(t)
		cert := testkit.Certificate(testkit.ECDSAKey(), newKey(t, e, g), "server")
		conf := &tls.Config{GetCertificate: engine.GetCertificate(
			func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil })}
		a, b := net.Pipe()
		defer a.Close()
		go client(b, cert, tls.VersionTLS13).Handshake()
		cancels := make(chan func(), 1)
		done := r.Go(func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			cancels <- cancel
			return tls.Server(a, conf).HandshakeContext(ctx)
		})
		cancel := testkit.Receive(t, cancels)
		testkit.Receive(t, g.entered)
		cancel()
		// Which of the two sees first that ctx has ended, crypto/tls or the key, is
		// chance. crypto/tls keeps only the text of the key's error.
		err := testkit.Receive(t, done)
		if err == nil || !strings.HasSuffix(err.Error(), context.Canceled.Error()) {
			t.Errorf("handshake: %v, want %v", err, context.Canceled)
		}
		wantStats(t, e, "1 operations, 1 canceled, 1 running")
		g.open()
		wantStats(t, e, "1 operations, 1 canceled, 1 dropped")
	})
}
