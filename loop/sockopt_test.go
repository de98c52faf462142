//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// option reads a socket option of c.
func option(c *loop.Conn, level, opt int) (v int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := rc.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, opt) }); cerr != nil {
		return 0, cerr
	}
	return v, err
}

func TestSocketOptions(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		noDelay := func() (int, error) { return option(c, unix.IPPROTO_TCP, unix.TCP_NODELAY) }
		keepAlive := func() (int, error) { return option(c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) }
		for _, tt := range []struct {
			name string
			set  func() error
			get  func() (int, error)
			want bool
		}{
			{"no delay at first", func() error { return nil }, noDelay, true},
			{"SetNoDelay(false)", func() error { return c.SetNoDelay(false) }, noDelay, false},
			{"SetNoDelay(true)", func() error { return c.SetNoDelay(true) }, noDelay, true},
			{"keep-alive at first", func() error { return nil }, keepAlive, false},
			{"SetKeepAlive(true)", func() error { return c.SetKeepAlive(true) }, keepAlive, true},
			{"SetKeepAlive(false)", func() error { return c.SetKeepAlive(false) }, keepAlive, false},
		} {
			if err := tt.set(); err != nil {
				return fmt.Errorf("%s: %w", tt.name, err)
			}
			if v, err := tt.get(); err != nil || v != 0 != tt.want {
				return fmt.Errorf("%s: the option is %d, error %v", tt.name, v, err)
			}
		}
		for _, tt := range []struct {
			name string
			set  func() error
		}{
			{"SetReadBuffer", func() error { return c.SetReadBuffer(100_000) }},
			{"SetWriteBuffer", func() error { return c.SetWriteBuffer(100_000) }},
			{"SetLinger(0)", func() error { return c.SetLinger(0) }},
			{"SetLinger(-1)", func() error { return c.SetLinger(-1) }}, // or it would end in a reset
		} {
			if err := tt.set(); err != nil {
				return fmt.Errorf("%s: %w", tt.name, err)
			}
		}
		for _, opt := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			if v, err := option(c, unix.SOL_SOCKET, opt); err != nil || v < 100_000 {
				return fmt.Errorf("a buffer is of %d bytes, error %v", v, err)
			}
		}
		return nil
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// SetLinger(0) makes Close a reset.
func TestLingerResets(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		if err := readAll(c, "x"); err != nil {
			return err
		}
		return c.SetLinger(0)
	})
	send(t, c, "x")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer reads %v, want %v", err, unix.ECONNRESET)
	}
}

// What a Unix socket does not have is an error, and no more.
func TestSocketOptionsOfUnixSocket(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	done := make(chan error, 1)
	ln, err := l.Listen("unix", filepath.Join(t.TempDir(), "s"), loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		var err error
		if c.SetNoDelay(true) == nil {
			err = errors.New("SetNoDelay works on a Unix socket")
		}
		done <- errors.Join(err, c.SetReadBuffer(10_000), c.SetWriteBuffer(10_000))
		return readAll(c, "x")
	}))
	if err != nil {
		t.Fatal(err)
	}
	c := testkit.Dial(t, ln.Addr())
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	send(t, c, "x")
	expectEOF(t, c)
}

// Raw access pauses the job where the function says that it would block.
func TestSyscallConn(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const big = 8 << 20
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		for _, want := range []string{"one", "two"} {
			var got string
			var rerr error
			if err := rc.Read(func(fd uintptr) bool {
				b := make([]byte, 10)
				var n int
				n, rerr = unix.Read(int(fd), b)
				got = string(b[:max(n, 0)])
				return rerr != unix.EAGAIN
			}); err != nil || rerr != nil || got != want {
				return fmt.Errorf("read %q, %v, %v, want %q", got, err, rerr, want)
			}
			if _, err := c.Write([]byte("ok")); err != nil {
				return err
			}
		}
		left := big
		b := make([]byte, 1<<20)
		for left > 0 {
			var werr error
			if err := rc.Write(func(fd uintptr) bool {
				var n int
				n, werr = unix.Write(int(fd), b[:min(left, len(b))])
				left -= max(n, 0)
				return werr != unix.EAGAIN
			}); err != nil || werr != nil {
				return fmt.Errorf("write: %v, %v", err, werr)
			}
		}
		c.SetDeadline(soon())
		if err := wantTimeout("raw Read", rc.Read(func(uintptr) bool { return false })); err != nil {
			return err
		}
		c.Close()
		for name, err := range map[string]error{
			"Read":    rc.Read(func(uintptr) bool { return true }),
			"Write":   rc.Write(func(uintptr) bool { return true }),
			"Control": rc.Control(func(uintptr) {}),
		} {
			if err == nil {
				return fmt.Errorf("raw %s works on a closed connection", name)
			}
		}
		return nil
	})
	for _, s := range []string{"one", "two"} {
		send(t, c, s)
		testkit.WantRead(t, c, "ok")
	}
	expectZeros(t, c, big)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A duplicate of the descriptor outlives the connection. Its events must not
// reach what comes after it under the same number.
func TestSyscallConnDuplicated(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	dups := make(chan int, 1)
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		return rc.Control(func(fd uintptr) {
			dup, err := unix.Dup(int(fd))
			if err != nil {
				t.Error(err)
			}
			dups <- dup
		})
	})
	defer unix.Close(testkit.Receive(t, dups))
	if err := testkit.Receive(t, done); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the connection is closed", func() bool { return looptest.Settle(t, l).Conns == 0 })
	before := looptest.Settle(t, l).Events
	send(t, c, "to the duplicate")
	if n := looptest.Settle(t, l).Events - before; n != 0 {
		t.Errorf("%d events of a connection that is closed", n)
	}
	wantEcho(t, looptest.Listen(t, l, echo))
}
