// Package looptest has what the tests of packages on top of a loop need: a loop
// that must have nothing left when the test ends, and jobs on it. It is apart
// from testkit because the tests inside package loop cannot import it.
package looptest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/loop"
)

// New returns a loop that is running. When the test ends, it is shut down, and
// proved to have nothing left. What it logs, at warn level or above, fails the
// test, unless cfg has a Logger.
func New(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	l := NewIdle(t, cfg)
	Start(t, l)
	return l
}

// NewIdle is New of a loop that is not running. It is closed when the test
// ends.
func NewIdle(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	testkit.CheckLeaks(t)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(unexpected{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if cfg.BlockedAfter == 0 {
		cfg.BlockedAfter = -1 // the machine may be busy
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = -1 // or a busy machine turns clients away
	}
	l, err := loop.New(cfg)
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// unexpected fails the test with what is written to it.
type unexpected struct{ t testing.TB }

func (u unexpected) Write(p []byte) (int, error) {
	u.t.Errorf("unexpected log: %s", p)
	return len(p), nil
}

// Start runs l until the test ends, and then shuts it down.
func Start(t testing.TB, l *loop.Loop) {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	Call(t, l, func() {}) // or Shutdown might find a loop that does not run yet
	t.Cleanup(func() {
		ShutDown(t, l)
		if err := testkit.Receive(t, ran); err != nil {
			t.Errorf("Run: %v", err)
		}
		WantNothingLeft(t, l)
	})
}

// ShutDown shuts a loop or a group down, which has to succeed.
func ShutDown(t testing.TB, l interface{ Shutdown(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// WantNothingLeft looks at a loop or a group that has ended.
func WantNothingLeft(t testing.TB, l interface{ Stats() loop.Stats }) {
	t.Helper()
	s := l.Stats()
	if s.JobsRunning != 0 || s.JobsPaused != 0 || s.JobsQueued != 0 || s.Conns != 0 || s.PoolSize != 0 {
		t.Errorf("an ended loop has jobs or connections: %+v", s)
	}
	if s.JobsStarted != s.JobsFinished {
		t.Errorf("%d jobs started, %d finished", s.JobsStarted, s.JobsFinished)
	}
}

// Listen has l serve connections at an address of its own choice.
func Listen(t testing.TB, l *loop.Loop, h loop.Handler) net.Addr {
	t.Helper()
	ln, err := l.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr()
}

// ErrLeft is the error of a job whose function has not returned.
var ErrLeft = errors.New("the job ended in a panic or in Goexit")

// Spawn starts fn as a job. Its error comes from the channel.
func Spawn(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	if err := l.Go(Report(done, fn)); err != nil {
		t.Fatalf("Go: %v", err)
	}
	return done
}

// Report returns fn as a job that sends its error to done, and ErrLeft if fn
// does not return.
func Report(done chan<- error, fn func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) (err error) {
		err = ErrLeft
		defer func() { done <- err }()
		err = fn(ctx)
		return err
	}
}

// Must runs fn as a job, which has to succeed.
func Must(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) {
	t.Helper()
	if err := testkit.Receive(t, Spawn(t, l, fn)); err != nil {
		t.Fatal(err)
	}
}

// Call runs f on the loop's goroutine, outside any job.
func Call(t testing.TB, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Post(func() { defer close(done); f() }); err != nil {
		t.Fatalf("Post: %v", err)
	}
	testkit.Receive(t, done)
}

// Settle waits until the loop has dealt with all that has been asked of it so
// far, and its Stats say so.
func Settle(t testing.TB, l *loop.Loop) loop.Stats {
	t.Helper()
	Call(t, l, func() {})
	Call(t, l, func() {}) // in a later turn: the first one's counts are published
	return l.Stats()
}
