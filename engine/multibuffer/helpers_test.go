package multibuffer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

//go:embed testdata
var testdata embed.FS

var testKeys struct {
	sync.Mutex
	keys map[string]*rsa.PrivateKey
}

// testKey returns a key of testdata: 2048a, 2048b, 3072 or 4096.
func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	testKeys.Lock()
	defer testKeys.Unlock()
	if k := testKeys.keys[name]; k != nil {
		return k
	}
	b, err := testdata.ReadFile("testdata/rsa" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if testKeys.keys == nil {
		testKeys.keys = make(map[string]*rsa.PrivateKey)
	}
	testKeys.keys[name] = k
	return k
}

var allKeys = []string{"2048a", "2048b", "3072", "4096"}

// newEngine returns an Engine whose clock stands still unless the test moves
// it, so that no request becomes old by itself.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skipf("SKIPPED, NOTHING IS TESTED HERE: %v", err)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.now = func() time.Duration { return 0 }
	return e
}

func newKey(t testing.TB, e *Engine, name string) *Key {
	t.Helper()
	k, err := e.Key(testKey(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k.(*Key)
}

// keepBusy keeps the loop from sleeping until stop is called, or the test
// ends.
func keepBusy(t testing.TB, l *loop.Loop) (stop func()) {
	t.Helper()
	stopped := false
	var again func()
	again = func() {
		if !stopped {
			if err := l.Post(again); err != nil && !errors.Is(err, loop.ErrClosed) {
				t.Errorf("Post: %v", err)
			}
		}
	}
	looptest.Call(t, l, again)
	stop = sync.OnceFunc(func() { l.Post(func() { stopped = true }) })
	t.Cleanup(stop)
	return stop
}

// together starts n jobs and, when all are there, has them run fn in one turn
// of the loop, in the order of i. Their errors come from the channels.
func together(t testing.TB, l *loop.Loop, n int, fn func(ctx context.Context, i int) error) []<-chan error {
	t.Helper()
	open := false // of the loop's goroutine, as all of this
	var waiting []jobs.Job
	all := make([]<-chan error, n)
	for i := range n {
		all[i] = looptest.Spawn(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			waiting = append(waiting, j)
			for !open {
				j.WaitCtx().Callback()
				if err := j.Pause(); err != nil {
					return err
				}
			}
			return fn(ctx, i)
		})
	}
	testkit.Eventually(t, "all jobs wait", func() (there bool) {
		looptest.Call(t, l, func() {
			if len(waiting) < n {
				return
			}
			there, open = true, true
			for _, j := range waiting {
				l.Ready(j)
			}
		})
		return there
	})
	return all
}

// mustAll waits for jobs that have to succeed.
func mustAll(t testing.TB, all []<-chan error) {
	t.Helper()
	for i, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Errorf("job %d: %v", i, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

var digest = func() []byte { d := sha256.Sum256([]byte("message")); return d[:] }()

// signs signs digest with k in the job of ctx and verifies what comes.
func signs(ctx context.Context, k *Key) error {
	sig, err := k.ForContext(ctx).Sign(nil, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	return rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, digest, sig)
}

// batcherIn returns the batcher of e on l. It is for the loop's goroutine.
func batcherIn(e *Engine, l engine.Host) *batcher { return l.Local(e).(*batcher) }

// wantIdle proves that no request is left on the loop, and none unwiped.
func wantIdle(t testing.TB, e *Engine, l *loop.Loop) {
	t.Helper()
	looptest.Call(t, l, func() {
		b, ok := l.Local(e).(*batcher)
		if !ok {
			return
		}
		if b.waiting != 0 || len(b.batch.reqs) != 0 || len(b.settled) != 0 || b.done.Load() {
			t.Errorf("%d requests wait, %d are being computed, %d settled", b.waiting, len(b.batch.reqs), len(b.settled))
		}
		for i := range b.queues {
			if q := b.queues[i]; q != (queue{}) {
				t.Errorf("queue %d is %+v", i, q)
			}
		}
		for _, list := range [][]*request{b.settled, b.batch.reqs} {
			if slices.ContainsFunc(list[:cap(list)], func(r *request) bool { return r != nil }) {
				t.Error("a request that has been dealt with is kept")
			}
		}
		n := 0
		for r := b.free.top; r != nil; r = r.next {
			n++
			if clean := (request{next: r.next}); !sameRequest(r, &clean) {
				t.Error("a free request is not wiped")
			}
		}
		if n != b.free.n || n > maxFree {
			t.Errorf("%d free requests, the count is %d, at most %d are kept", n, b.free.n, maxFree)
		}
	})
}

func sameRequest(a, b *request) bool {
	return a.in == b.in && a.out == b.out && a.op.Key == b.op.Key && a.op.In == nil && a.op.Out == nil && !a.op.OK &&
		a.ctx == b.ctx && a.job == b.job && a.state == b.state && !a.abandoned && a.wake == nil && a.wakeArg == nil && a.prev == nil
}

// wantSizes proves how many batches of which sizes e has computed.
func wantSizes(t testing.TB, e *Engine, want map[int]uint64) {
	t.Helper()
	s := e.Stats()
	var w [rsax8.Lanes + 1]uint64
	batches, operations := uint64(0), uint64(0)
	for size, n := range want {
		w[size] = n
		batches += n
		operations += n * uint64(size)
	}
	if s.BatchSizes != w {
		t.Errorf("batches by size: %v, want %v", s.BatchSizes, w)
	}
	if s.Batches != batches || s.Operations+s.Fallbacks != operations {
		t.Errorf("%d batches, %d operations, %d fallbacks, want %d and %d in all", s.Batches, s.Operations, s.Fallbacks, batches, operations)
	}
}
