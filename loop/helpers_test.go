package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// wantOneLine proves that l has logged one line to b, and that it contains all of
// parts.
func wantOneLine(t testing.TB, l *loop.Loop, b *testkit.Log, parts ...string) {
	t.Helper()
	l.FlushLogs()
	lines := b.Lines()
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

// do runs fn as a job and returns its error. It must end.
func do(t testing.TB, l *loop.Loop, fn func(ctx context.Context) error) error {
	t.Helper()
	done := looptest.Spawn(t, l, fn)
	return testkit.Receive(t, done)
}

// pair returns both ends of a connection: the loop's, in a job that has begun to
// run fn, whose error comes from the channel, and the other.
func pair(t testing.TB, l *loop.Loop, fn func(ctx context.Context, c *loop.Conn) error) (net.Conn, <-chan error) {
	t.Helper()
	begun, done := make(chan bool, 1), make(chan error, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) (err error) {
		err = looptest.ErrLeft
		defer func() { done <- err }()
		begun <- true
		err = fn(ctx, c)
		return err
	}))
	c := testkit.Dial(t, addr)
	testkit.Receive(t, begun) // a client that has gone before would not be served
	return c, done
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
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
	looptest.Settle(t, l)
	looptest.Call(t, l, func() {
		before := l.Stats().Turns
		l.AfterFunc(20*time.Millisecond, func() { passed <- l.Stats().Turns - before })
	})
	// A few for the call, the timer, a trim perhaps, and jobs that are polled;
	// spinning makes thousands.
	if turns := testkit.Receive(t, passed); turns > 50 {
		t.Errorf("%d turns while nothing happens", turns)
	}
}
