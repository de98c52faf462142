package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// wantClosed proves that every method says the connection is closed.
func wantClosed(c *loop.Conn) error {
	_, rerr := c.Read(make([]byte, 1))
	_, werr := c.Write([]byte("x"))
	_, serr := c.SyscallConn()
	for name, err := range map[string]error{
		"Read": rerr, "Write": werr, "SyscallConn": serr,
		"Close": c.Close(), "CloseRead": c.CloseRead(), "CloseWrite": c.CloseWrite(),
		"SetDeadline": c.SetDeadline(future()), "SetNoDelay": c.SetNoDelay(true),
	} {
		if !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("%s on a closed connection: %v", name, err)
		}
	}
	return nil
}

func TestCloseInJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		if err := c.Close(); err != nil {
			return err
		}
		if err := wantClosed(c); err != nil {
			return err
		}
		if err := loop.Sleep(ctx, 1); err != nil { // until the descriptor is gone
			return err
		}
		return wantClosed(c)
	})
	expectEOF(t, c)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestCloseWakesWaiting(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, op := range []string{"read", "write"} {
		conns := make(chan *loop.Conn, 1)
		_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
			conns <- c
			var err error
			for b := make([]byte, 1<<20); err == nil; {
				if op == "read" {
					_, err = c.Read(b)
				} else {
					_, err = c.Write(b)
				}
			}
			if !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("%s: %v, want %v", op, err, net.ErrClosed)
			}
			return nil
		})
		c := testkit.Receive(t, conns)
		looptest.Settle(t, l)
		if err := c.Close(); err != nil { // from this goroutine, which is not the loop's
			t.Error(err)
		}
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

// Close is the method that any goroutine may call, also many at a time, and
// while a job uses the connection.
func TestCloseRaces(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for range 50 {
		conns := make(chan *loop.Conn, 1)
		c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
			conns <- c
			for b := make([]byte, 10); ; {
				if _, err := c.Write([]byte("x")); err != nil {
					break
				}
				if _, err := c.Read(b); err != nil {
					break
				}
			}
			return nil
		})
		send(t, c, "x")
		lc := testkit.Receive(t, conns)
		var wg sync.WaitGroup
		closed := make(chan error, 3)
		for range cap(closed) {
			wg.Go(func() { closed <- lc.Close() })
		}
		wg.Wait()
		close(closed)
		succeeded := 0
		for err := range closed {
			if err == nil {
				succeeded++
			} else if !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close: %v", err)
			}
		}
		if succeeded != 1 {
			t.Errorf("%d calls of Close succeeded, want 1", succeeded)
		}
		testkit.Receive(t, done)
		c.Close()
	}
}

// A connection that is closed while its job waits for room in the pool.
func TestCloseBeforeServe(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 1})
	conns := make(chan *loop.Conn, 1)
	served := make(chan error, 1)
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		conns <- c
		return c.Park(loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			served <- wantClosed(c)
			return nil
		}))
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Fatal(err)
	}
	lc := testkit.Receive(t, conns)
	occupied := looptest.Spawn(t, l, func(ctx context.Context) error {
		send(t, c, "x")
		for l.Stats().JobsQueued == 0 { // for a job to serve it again
			if err := loop.Sleep(ctx, 1); err != nil {
				return err
			}
		}
		lc.Close()
		return loop.Sleep(ctx, 1)
	})
	if err := testkit.Receive(t, occupied); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, served); err != nil {
		t.Error(err)
	}
}
