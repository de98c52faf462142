package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

// newLoop returns a loop that is running. When the test ends, it is shut down,
// and proved to have nothing left. What it logs, at warn level or above, fails
// the test, unless cfg has a Logger.
func newLoop(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	l := newIdleLoop(t, cfg)
	start(t, l)
	return l
}

// newIdleLoop returns a loop that is not running.
func newIdleLoop(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	loop.CheckLeaks(t)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(unexpected{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if cfg.BlockedAfter == 0 {
		cfg.BlockedAfter = -1 // the machine may be busy
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

// start runs l until the test ends, and then shuts it down.
func start(t testing.TB, l *loop.Loop) {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	sync := make(chan bool) // or Shutdown might find a loop that does not run yet
	if err := l.Post(func() { close(sync) }); err != nil {
		t.Fatal(err)
	}
	receive(t, sync)
	t.Cleanup(func() {
		shutDown(t, l)
		if err := receive(t, ran); err != nil {
			t.Errorf("Run: %v", err)
		}
		wantNothingLeft(t, l)
	})
}

func shutDown(t testing.TB, l interface{ Shutdown(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// wantNothingLeft looks at a loop that has ended.
func wantNothingLeft(t testing.TB, l interface{ Stats() loop.Stats }) {
	t.Helper()
	s := l.Stats()
	if s.JobsRunning != 0 || s.JobsPaused != 0 || s.JobsQueued != 0 || s.Conns != 0 || s.PoolSize != 0 {
		t.Errorf("an ended loop has jobs or connections: %+v", s)
	}
	if s.JobsStarted != s.JobsFinished {
		t.Errorf("%d jobs started, %d finished", s.JobsStarted, s.JobsFinished)
	}
}

// unexpected fails the test with what is written to it.
type unexpected struct{ t testing.TB }

func (u unexpected) Write(p []byte) (int, error) {
	u.t.Errorf("unexpected log: %s", p)
	return len(p), nil
}

// logged keeps what a loop logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logged) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logged) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.buf.String()), "\n")
}

func (b *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// wantOneLine proves that one line was logged, and that it contains all of
// parts.
func wantOneLine(t testing.TB, b *logged, parts ...string) {
	t.Helper()
	lines := b.lines()
	if len(lines) != 1 {
		t.Errorf("%d lines were logged, want 1:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, p := range parts {
		if !strings.Contains(lines[0], p) {
			t.Errorf("%q is not in the log: %s", p, lines[0])
		}
	}
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

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

// do runs fn as a job and returns its error. It must end.
func do(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) error {
	t.Helper()
	done := spawn(t, l, fn)
	return receive(t, done)
}

// must is do of a job that has to succeed.
func must(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) {
	t.Helper()
	if err := do(t, l, fn); err != nil {
		t.Fatal(err)
	}
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

// call runs f on the loop's goroutine.
func call(t testing.TB, l *loop.Loop, f func()) {
	t.Helper()
	done := make(chan bool)
	if err := l.Post(func() { defer close(done); f() }); err != nil {
		t.Fatalf("Post: %v", err)
	}
	receive(t, done)
}

// settle waits until the loop has seen all that has been asked of it so far,
// and its Stats say so.
func settle(t testing.TB, l *loop.Loop) loop.Stats {
	t.Helper()
	call(t, l, func() {})
	call(t, l, func() {}) // in a later turn: the first one's counts are published
	return l.Stats()
}

// eventually waits until cond, about a loop, is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// serve has l serve connections at an address of its own choice.
func serve(t testing.TB, l *loop.Loop, h loop.Handler) net.Addr {
	t.Helper()
	ln, err := l.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr()
}

// connect dials from outside the loop. Nothing the connection does takes
// longer than patience.
func connect(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// reset closes a TCP connection with a RST.
func reset(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// pair returns both ends of a connection: the loop's, in a job that has begun to
// run fn, whose error comes from the channel, and the other.
func pair(t testing.TB, l *loop.Loop, fn func(ctx context.Context, c *loop.Conn) error) (net.Conn, <-chan error) {
	t.Helper()
	begun, done := make(chan bool, 1), make(chan error, 1)
	addr := serve(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) (err error) {
		err = errLeft
		defer func() { done <- err }()
		begun <- true
		err = fn(ctx, c)
		return err
	}))
	c := connect(t, addr)
	receive(t, begun) // a client that has gone before would not be served
	return c, done
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

// expect reads exactly s.
func expect(t testing.TB, c io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("read %q, error %v, want %q", b[:n], err, s)
	}
}

// expectZeros reads n bytes.
func expectZeros(t testing.TB, c io.Reader, n int64) {
	t.Helper()
	if got, err := io.CopyN(io.Discard, c, n); err != nil {
		t.Fatalf("read %d bytes of %d: %v", got, n, err)
	}
}

func expectEOF(t testing.TB, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, error %v, want EOF", n, err)
	}
}

// readAll reads exactly s inside a job.
func readAll(c io.Reader, s string) error {
	b := make([]byte, len(s))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != s {
		return fmt.Errorf("read %q, error %v, want %q", b[:n], err, s)
	}
	return nil
}

// echo sends back what it reads, and keeps no job while there is nothing.
var echo = loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
	for c.Readable() {
		if err := echoOnce(c); err != nil {
			return err
		}
	}
	return c.Park(nil)
})

var errEnded = errors.New("the peer has ended its side")

// echoOnce sends back what it reads at once.
func echoOnce(c net.Conn) error {
	buf := make([]byte, 32<<10)
	n, err := c.Read(buf)
	if err == io.EOF {
		return errEnded
	}
	if err != nil {
		return err
	}
	_, err = c.Write(buf[:n])
	return err
}

// wantFewTurns proves that the loop does nothing by itself while a timer
// passes.
func wantFewTurns(t testing.TB, l *loop.Loop) {
	t.Helper()
	passed := make(chan uint64, 1)
	settle(t, l)
	call(t, l, func() {
		before := l.Stats().Turns
		l.AfterFunc(20*time.Millisecond, func() { passed <- l.Stats().Turns - before })
	})
	// A few for the call, the timer, a trim perhaps, and jobs that are polled;
	// spinning makes thousands.
	if turns := receive(t, passed); turns > 50 {
		t.Errorf("%d turns while nothing happens", turns)
	}
}
