package offload_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/loop"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

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

// wantErr proves that err is all of targets.
func wantErr(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %v, want one that is %v", err, target)
		}
	}
}

// checkLeaks makes the test fail if, at its end, more descriptors or
// goroutines exist than now. Jobs count as goroutines.
func checkLeaks(t testing.TB) {
	t.Helper()
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // package net opens, once, descriptors that it keeps
	}
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			now := descriptors()
			leaked := runtime.NumGoroutine() - goroutines
			if len(now) <= len(fds) && leaked <= 0 {
				return
			}
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("leaked: %d goroutines; descriptors\n%s\nthen\n%s\n\n%s", leaked,
					strings.Join(fds, "\n"), strings.Join(now, "\n"), stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// descriptors lists the open descriptors; where the system has no such
// directory, none.
func descriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var fds []string
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		fds = append(fds, e.Name()+" "+target)
	}
	return fds
}

// newEngine returns an Engine that has nothing to do when the test ends.
func newEngine(t testing.TB, cfg offload.Config) *offload.Engine {
	t.Helper()
	e, err := offload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "an engine with nothing to do", func() bool {
			s := e.Stats()
			return s.Queued == 0 && s.Running == 0 && s.Stuck == 0
		})
	})
	return e
}

func newKey(t testing.TB, e *offload.Engine, signer crypto.Signer) engine.Key {
	t.Helper()
	k, err := e.Key(signer)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var ecdsaKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// gate is a signer whose operations wait to be let through.
type gate struct {
	crypto.Signer
	entered chan int      // an operation's number, from 1, as it begins
	through chan struct{} // takes one value, or is closed, to let through
	n       atomic.Int32  // operations begun
	inside  atomic.Int32
	most    atomic.Int32 // inside at a time
}

// newGate returns a gate before ecdsaKey, which is open when the test ends.
func newGate(t testing.TB) *gate {
	g := &gate{Signer: ecdsaKey(), entered: make(chan int, 10000), through: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

// open lets all operations through, from now on.
func (g *gate) open() {
	select {
	case <-g.through:
	default:
		close(g.through)
	}
}

func (g *gate) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	inside := g.inside.Add(1)
	defer g.inside.Add(-1)
	for most := g.most.Load(); inside > most && !g.most.CompareAndSwap(most, inside); most = g.most.Load() {
	}
	g.entered <- int(g.n.Add(1))
	<-g.through
	return g.Signer.Sign(rand, digest, opts)
}

// signerFunc is a signer with ecdsaKey's public key.
type signerFunc func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)

func (signerFunc) Public() crypto.PublicKey { return ecdsaKey().Public() }

func (f signerFunc) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f(rand, digest, opts)
}

var digest = sha256.Sum256([]byte("what is signed"))

// sign has k sign digest, and verifies the signature with ecdsaKey.
func sign(k crypto.Signer) error {
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(&ecdsaKey().PublicKey, digest[:], sig) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// signing is a job that signs.
func signing(k engine.Key) func(context.Context) error {
	return func(ctx context.Context) error { return sign(k.ForContext(ctx)) }
}

// newLoop returns a loop that is running. When the test ends, it is shut down,
// and proved to have nothing left. What it logs, at warn level or above, fails
// the test.
func newLoop(t testing.TB) *loop.Loop {
	t.Helper()
	l, err := loop.New(loop.Config{
		BlockedAfter: -1, // the machine may be busy
		Logger:       slog.New(slog.NewTextHandler(unexpected{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	running := make(chan bool)
	if err := l.Post(func() { close(running) }); err != nil {
		t.Fatal(err)
	}
	receive(t, running)
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
		if s.JobsPaused != 0 || s.JobsQueued != 0 || s.Conns != 0 || s.PoolSize != 0 || s.JobsStarted != s.JobsFinished {
			t.Errorf("an ended loop has jobs or connections: %+v", s)
		}
	})
	return l
}

// unexpected fails the test with what is written to it.
type unexpected struct{ t testing.TB }

func (u unexpected) Write(p []byte) (int, error) {
	u.t.Errorf("unexpected log: %s", p)
	return len(p), nil
}

// settle waits until the loop has dealt with all that has been asked of it.
func settle(t testing.TB, l *loop.Loop) {
	t.Helper()
	for range 2 { // the second is in a later turn
		done := make(chan bool)
		if err := l.Post(func() { close(done) }); err != nil {
			t.Fatal(err)
		}
		receive(t, done)
	}
}

// counted is a job's result that tells if the function never returned.
func counted(done chan<- error, fn func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		err = errors.New("the job ended in a panic or in Goexit")
		defer func() { done <- err }()
		err = fn(ctx)
		return err
	}
}

// drain receives n results, none of which may be an error.
func drain(t testing.TB, results []<-chan error) {
	t.Helper()
	for i, c := range results {
		if err := receive(t, c); err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
}

// wantNone proves that none of the results is there.
func wantNone(t testing.TB, results []<-chan error) {
	t.Helper()
	for i, c := range results {
		select {
		case err := <-c:
			t.Errorf("operation %d has ended already: %v", i, err)
		default:
		}
	}
}

// stats describes the counts that are not zero.
func stats(e *offload.Engine) string {
	s := e.Stats()
	var parts []string
	for _, c := range []struct {
		name string
		n    uint64
	}{
		{"operations", s.Operations}, {"errors", s.Errors}, {"timeouts", s.Timeouts}, {"canceled", s.Canceled},
		{"panics", s.Panics}, {"dropped", s.Dropped},
		{"queued", uint64(s.Queued)}, {"running", uint64(s.Running)}, {"stuck", uint64(s.Stuck)},
	} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return strings.Join(parts, ", ")
}

// wantStats waits until the counts are these.
func wantStats(t testing.TB, e *offload.Engine, want string) {
	t.Helper()
	for end := time.Now().Add(patience); stats(e) != want; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("counts are %s, want %s", stats(e), want)
		}
	}
}
