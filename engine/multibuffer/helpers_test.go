package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

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

// newLoop returns a loop that is running. When the test ends it is shut down,
// and proved to have nothing left. What it logs, at warn level or above, fails
// the test, unless cfg has a Logger.
func newLoop(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	checkLeaks(t)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(unexpected{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	cfg.BlockedAfter = -1 // the machine may be busy
	l, err := loop.New(cfg)
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	call(t, l, func() {}) // or Shutdown might find a loop that does not run yet
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := receive(t, ran); err != nil {
			t.Errorf("Run: %v", err)
		}
		s := l.Stats()
		if s.JobsRunning+s.JobsPaused+s.JobsQueued+s.Conns+s.PoolSize != 0 || s.JobsStarted != s.JobsFinished {
			t.Errorf("an ended loop has jobs or connections: %+v", s)
		}
	})
	return l
}

// unexpected fails the test with what is written to it.
type unexpected struct{ t testing.TB }

func (u unexpected) Write(p []byte) (int, error) {
	u.t.Errorf("logged: %s", p)
	return len(p), nil
}

// receive takes a value from c, which must come.
func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing happens")
		panic("unreachable")
	}
}

// eventually waits until cond is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// call runs f on the loop's goroutine, outside any job.
func call(t testing.TB, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Post(func() { defer close(done); f() }); err != nil {
		t.Fatalf("Post: %v", err)
	}
	receive(t, done)
}

// settle waits until the loop has turned, and its Stats say what it has seen.
func settle(t testing.TB, l *loop.Loop) {
	t.Helper()
	call(t, l, func() {})
	call(t, l, func() {})
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
	call(t, l, again)
	stop = sync.OnceFunc(func() { l.Post(func() { stopped = true }) })
	t.Cleanup(stop)
	return stop
}

var errLeft = errors.New("the job ended in a panic or in Goexit")

// spawn starts fn as a job. Its error comes from the channel.
func spawn(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	err := l.Go(func(ctx context.Context) (err error) {
		err = errLeft
		defer func() { done <- err }()
		err = fn(ctx)
		return err
	})
	if err != nil {
		t.Fatalf("Go: %v", err)
	}
	return done
}

// must runs fn as a job, which has to succeed.
func must(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) {
	t.Helper()
	if err := receive(t, spawn(t, l, fn)); err != nil {
		t.Fatal(err)
	}
}

// together starts n jobs and, when all are there, has them run fn in one turn
// of the loop, in the order of i. Their errors come from the channels.
func together(t testing.TB, l *loop.Loop, n int, fn func(ctx context.Context, i int) error) []<-chan error {
	t.Helper()
	open := false // of the loop's goroutine, as all of this
	var waiting []jobs.Job
	all := make([]<-chan error, n)
	for i := range n {
		all[i] = spawn(t, l, func(ctx context.Context) error {
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
	eventually(t, "all jobs wait", func() (there bool) {
		call(t, l, func() {
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
		if err := receive(t, done); err != nil {
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
	call(t, l, func() {
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

// logged is a logger's output.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *logged) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *logged) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(o, nil)) }

// checkLeaks makes the test fail if, at its end, more descriptors or
// goroutines exist than now. Jobs count as goroutines.
func checkLeaks(t testing.TB) {
	t.Helper()
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			moreFDs, moreGoroutines := len(descriptors())-len(fds), runtime.NumGoroutine()-goroutines
			if moreFDs <= 0 && moreGoroutines <= 0 {
				return
			}
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d descriptors and %d goroutines leaked\nbefore: %s\nafter: %s\n%s", moreFDs, moreGoroutines,
					strings.Join(fds, ", "), strings.Join(descriptors(), ", "), stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// descriptors lists the open descriptors of the process; where the system has
// no such directory, none.
func descriptors() (fds []string) {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			target, _ := os.Readlink(dir + "/" + e.Name())
			fds = append(fds, fmt.Sprintf("%s %s", e.Name(), target))
		}
		return fds
	}
	return nil
}
