package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// wokenBy returns the connection's other end, and what the first Read of a
// parked connection's new job returns.
func wokenBy(t *testing.T, l *loop.Loop, before func(c *loop.Conn)) (net.Conn, <-chan error) {
	t.Helper()
	woken := make(chan error, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		if before != nil {
			before(c)
		}
		return c.Park(loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			n, err := c.Read(make([]byte, 1))
			if n > 0 {
				err = nil
			}
			woken <- err
			return nil
		}))
	}))
	c := testkit.Dial(t, addr)
	return c, woken
}

// parked waits until n connections are open and no job is alive.
func parked(t *testing.T, l *loop.Loop, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d connections without a job", n), func() bool {
		s := looptest.Settle(t, l)
		return s.Conns == uint64(n) && s.JobsPaused == 0 && s.JobsQueued == 0 && s.JobsStarted == s.JobsFinished
	})
}

func TestParkUntilBytes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, woken := wokenBy(t, l, nil)
	parked(t, l, 1)
	send(t, c, "x")
	if err := testkit.Receive(t, woken); err != nil {
		t.Errorf("Read: %v", err)
	}
	expectEOF(t, c)
}

// Bytes that have come before the handler returns count too.
func TestParkWithBytesThere(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, woken := wokenBy(t, l, func(c *loop.Conn) {
		if err := readAll(c, "x"); err != nil {
			t.Error(err)
		}
	})
	send(t, c, "xy")
	if err := testkit.Receive(t, woken); err != nil {
		t.Errorf("Read: %v", err)
	}
}

func TestParkUntilEOF(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, woken := wokenBy(t, l, nil)
	parked(t, l, 1)
	c.Close()
	if err := testkit.Receive(t, woken); err != io.EOF {
		t.Errorf("Read: %v, want EOF", err)
	}
}

func TestParkUntilReset(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, woken := wokenBy(t, l, nil)
	parked(t, l, 1)
	testkit.Reset(c)
	if err := testkit.Receive(t, woken); err == nil || err == io.EOF {
		t.Errorf("Read: %v, want a reset", err)
	}
}

func TestParkUntilTimeout(t *testing.T) {
	t.Run("IdleTimeout", func(t *testing.T) {
		l := looptest.New(t, loop.Config{IdleTimeout: 5 * time.Millisecond})
		_, woken := wokenBy(t, l, nil)
		if err := wantTimeout("Read", testkit.Receive(t, woken)); err != nil {
			t.Error(err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		_, woken := wokenBy(t, l, func(c *loop.Conn) { c.SetReadDeadline(soon()) })
		if err := wantTimeout("Read", testkit.Receive(t, woken)); err != nil {
			t.Error(err)
		}
	})
	t.Run("past deadline", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		_, woken := wokenBy(t, l, func(c *loop.Conn) { c.SetReadDeadline(past()) })
		if err := wantTimeout("Read", testkit.Receive(t, woken)); err != nil {
			t.Error(err)
		}
	})
	t.Run("deadline set while parked", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		conns := make(chan *loop.Conn, 1)
		_, woken := wokenBy(t, l, func(c *loop.Conn) { conns <- c })
		c := testkit.Receive(t, conns)
		parked(t, l, 1)
		looptest.Must(t, l, func(context.Context) error { return c.SetReadDeadline(soon()) })
		if err := wantTimeout("Read", testkit.Receive(t, woken)); err != nil {
			t.Error(err)
		}
	})
}

// A handler may give the peer more time.
func TestParkTimeoutExtended(t *testing.T) {
	l := looptest.New(t, loop.Config{IdleTimeout: 5 * time.Millisecond})
	timedOut := make(chan error, 1)
	ended := make(chan error, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		return c.Park(loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			_, err := c.Read(make([]byte, 1))
			timedOut <- wantTimeout("Read", err)
			c.SetReadDeadline(future())
			ended <- readAll(c, "late")
			return nil
		}))
	}))
	c := testkit.Dial(t, addr)
	if err := testkit.Receive(t, timedOut); err != nil {
		t.Fatal(err)
	}
	send(t, c, "late")
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}

func TestParkUntilShutdown(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	_, woken := wokenBy(t, l, nil)
	parked(t, l, 1)
	looptest.ShutDown(t, l)
	if err := testkit.Receive(t, woken); !errors.Is(err, loop.ErrShutdown) {
		t.Errorf("Read: %v, want %v", err, loop.ErrShutdown)
	}
}

// A connection that is woken without bytes says why in raw access too.
func TestParkThenRawRead(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	told := make(chan error, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		return c.Park(loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			rc, err := c.SyscallConn()
			if err != nil {
				return err
			}
			told <- rc.Read(func(uintptr) bool { return false })
			return nil
		}))
	}))
	testkit.Dial(t, addr)
	parked(t, l, 1)
	looptest.ShutDown(t, l)
	if err := testkit.Receive(t, told); !errors.Is(err, loop.ErrShutdown) {
		t.Errorf("raw Read: %v, want %v", err, loop.ErrShutdown)
	}
}

// Parking again during Shutdown, at whatever stage, does not hold it up.
func TestParkDuringShutdown(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	told := make(chan error, 10)
	first := true
	again := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		var err error
		if !first {
			_, err = c.Read(make([]byte, 1))
		}
		first = false
		told <- err
		return c.Park(nil)
	})
	addr := looptest.Listen(t, l, again)
	c := testkit.Dial(t, addr)
	testkit.Receive(t, told)
	parked(t, l, 1)
	looptest.ShutDown(t, l)
	expectEOF(t, c)
	if err := testkit.Receive(t, told); !errors.Is(err, loop.ErrShutdown) {
		t.Errorf("Read: %v, want %v", err, loop.ErrShutdown)
	}
	if len(told) != 0 {
		t.Error("the handler was called again after that")
	}
}

// Only Park parks: an error of some other connection, returned by the handler,
// closes the one that is served.
func TestErrWouldBlockDoesNotPark(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(context.Context, *loop.Conn) error { return loop.ErrWouldBlock }))
	expectEOF(t, testkit.Dial(t, addr))
}

// Readable tells whether a Read would wait, and takes nothing away.
func TestReadable(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	asked := make(chan bool, 1)
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		if c.Readable() {
			return errors.New("readable before there is anything")
		}
		asked <- true
		for _, want := range []string{"one", "two"} {
			for !c.Readable() {
				if err := loop.Sleep(ctx, time.Millisecond); err != nil {
					return err
				}
			}
			if err := readAll(c, want); err != nil {
				return err
			}
			if c.Readable() && want == "one" {
				return errors.New("readable when all has been read")
			}
			if _, err := c.Write([]byte("more")); err != nil {
				return err
			}
		}
		c.SetReadDeadline(past())
		if !c.Readable() {
			return errors.New("not readable when the deadline has passed")
		}
		return nil
	})
	testkit.Receive(t, asked)
	send(t, c, "one")
	testkit.WantRead(t, c, "more")
	send(t, c, "two")
	testkit.WantRead(t, c, "more")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Between Park and its return a handler may still pause. The next job must not
// begin before it has ended.
func TestParkThenPause(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	events := make(chan string, 10)
	goOn := false
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		c.SetReadDeadline(soon()) // which would end the parking too
		c.Park(loop.HandlerFunc(func(context.Context, *loop.Conn) error {
			events <- "second"
			return nil
		}))
		events <- "parked"
		for !goOn {
			if err := loop.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		events <- "first"
		return nil
	}))
	c := testkit.Dial(t, addr)
	if e := testkit.Receive(t, events); e != "parked" {
		t.Fatal(e)
	}
	send(t, c, "x")
	looptest.Settle(t, l)
	looptest.Call(t, l, func() { l.AfterFunc(10*time.Millisecond, func() { goOn = true }) })
	for _, want := range []string{"first", "second"} {
		if e := testkit.Receive(t, events); e != want {
			t.Fatalf("%s, want %s", e, want)
		}
	}
}

// A handler that parks and then panics has not parked.
func TestParkThenPanic(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: silent()})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		defer panic("after all")
		return c.Park(echo)
	}))
	expectEOF(t, testkit.Dial(t, addr))
}

func TestParkManyHoldNoJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, echo)
	const n = 1000
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = testkit.Dial(t, addr)
	}
	parked(t, l, n)
	for i, c := range conns {
		send(t, c, fmt.Sprint(i))
	}
	for i, c := range conns {
		testkit.WantRead(t, c, fmt.Sprint(i))
	}
	parked(t, l, n)
	for _, c := range conns {
		c.Close()
	}
	parked(t, l, 0)
}

// A handler that parks again whatever Read says is run once in an idle timeout,
// and not over and over.
func TestParkAgainAfterTimeout(t *testing.T) {
	const timeout, runs = 5 * time.Millisecond, 5
	l := looptest.New(t, loop.Config{IdleTimeout: timeout})
	enough := make(chan time.Duration, 1)
	var first time.Time
	n := 0
	var again loop.HandlerFunc
	again = func(_ context.Context, c *loop.Conn) error {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("Read: %w", err)
		}
		if n++; n == runs {
			enough <- time.Since(first)
			return nil
		}
		return c.Park(again)
	}
	testkit.Dial(t, looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		first = time.Now()
		return c.Park(again)
	})))
	// Timers are never early, so a machine that is slow does not matter.
	if took := testkit.Receive(t, enough); took < runs*timeout {
		t.Errorf("%d runs in %v, with a timeout of %v", runs, took, timeout)
	}
}

// There is nothing more to wait for after the end of the stream, or after a
// deadline that has passed and been told.
func TestParkInVain(t *testing.T) {
	for name, tt := range map[string]struct {
		park func(c *loop.Conn)
		then func(client net.Conn)
	}{
		"end":      {func(*loop.Conn) {}, func(client net.Conn) { client.(*net.TCPConn).CloseWrite() }},
		"deadline": {func(c *loop.Conn) { c.SetReadDeadline(soon()) }, func(net.Conn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			var again loop.HandlerFunc
			again = func(_ context.Context, c *loop.Conn) error {
				c.Read(make([]byte, 1))
				return c.Park(again)
			}
			client := testkit.Dial(t, looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
				tt.park(c)
				return c.Park(again)
			})))
			tt.then(client)
			expectEOF(t, client)
		})
	}
}

// A job that still writes on a parked connection is not forgotten.
func TestParkWhileAnotherWrites(t *testing.T) {
	l := looptest.New(t, loop.Config{WriteTimeout: 5 * time.Millisecond, IdleTimeout: time.Hour})
	wrote := make(chan error, 1)
	testkit.Dial(t, looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		err := l.Go(func(context.Context) error {
			_, err := c.Write(make([]byte, 64<<20)) // nobody reads it
			wrote <- err
			return nil
		})
		if err != nil {
			return err
		}
		if err := loop.Sleep(ctx, time.Millisecond); err != nil { // until it waits
			return err
		}
		return c.Park(loop.HandlerFunc(func(context.Context, *loop.Conn) error { return nil }))
	})))
	if err := testkit.Receive(t, wrote); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v, want a timeout", err)
	}
}
