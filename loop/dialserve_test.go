package loop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// This file tests Conn.Serve: connections that a job has dialled, and that have none of
// their own until there is something to read.

// servedDialled dials in a job and gives the connection to a handler. It returns what the
// handler's Read returns, and the server's end.
func servedDialled(t *testing.T, l *loop.Loop, prepare func(c *loop.Conn, server net.Conn)) (woken chan error, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	woken = make(chan error, 4)
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		if server, err = ln.Accept(); err != nil {
			return err
		}
		if prepare != nil {
			prepare(c, server)
		}
		return c.Serve(loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			var b [1]byte
			for c.Readable() {
				_, err := c.Read(b[:])
				woken <- err
				if err != nil {
					return nil
				}
			}
			return c.Park(nil)
		}))
	})
	t.Cleanup(func() { server.Close() })
	return woken, server
}

func TestDialledServeUntilBytes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	woken, server := servedDialled(t, l, nil)
	parked(t, l, 1)
	for range 2 { // it may be parked again
		send(t, server, "x")
		if err := testkit.Receive(t, woken); err != nil {
			t.Errorf("Read: %v", err)
		}
		parked(t, l, 1)
	}
	server.Close()
	if err := testkit.Receive(t, woken); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
	parked(t, l, 0)
}

func TestDialledServeWithBytesThere(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	woken, _ := servedDialled(t, l, func(c *loop.Conn, server net.Conn) {
		send(t, server, "xy")
		if err := readAll(c, "x"); err != nil {
			t.Error(err)
		}
	})
	if err := testkit.Receive(t, woken); err != nil {
		t.Errorf("Read: %v", err)
	}
}

func TestDialledServeUntilReset(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	woken, server := servedDialled(t, l, nil)
	parked(t, l, 1)
	testkit.Reset(server)
	if err := testkit.Receive(t, woken); err == nil || err == io.EOF {
		t.Errorf("Read: %v, want a reset", err)
	}
}

func TestDialledServeUntilTheDeadline(t *testing.T) {
	l := looptest.New(t, loop.Config{IdleTimeout: -1})
	woken, _ := servedDialled(t, l, func(c *loop.Conn, _ net.Conn) { c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)) })
	if err := wantTimeout("Read", testkit.Receive(t, woken)); err != nil {
		t.Error(err)
	}
	parked(t, l, 0)
}

// Serve refuses connections that it cannot park.
func TestServeRefusesDialled(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	nothing := loop.HandlerFunc(func(context.Context, *loop.Conn) error { return nil })
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		if err := c.Serve(nothing); err == nil {
			t.Error("a connection with a job of its own is taken")
		}
		return nil
	}))
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		if err := c.Serve(nil); err == nil {
			t.Error("a nil Handler is taken")
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
		if err := c.Serve(nothing); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
		c.Close()
		if err := c.Serve(nothing); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		return nil
	})
}
