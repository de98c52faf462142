package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// elsewhere runs f on a goroutine that the calling job has started, while the
// job itself waits in the way that libraries do, and returns its error.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// What would have to pause is refused on a goroutine that is not the job's: a
// pause there would end the process.
func TestNotInJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	tests := map[string]func(ctx context.Context, c *loop.Conn) error{
		"Sleep": func(ctx context.Context, _ *loop.Conn) error { return loop.Sleep(ctx, time.Millisecond) },
		"Await": func(ctx context.Context, _ *loop.Conn) error {
			return loop.Await(ctx, func(done func()) { t.Error("begin was called") })
		},
		"Dial": func(ctx context.Context, c *loop.Conn) error {
			_, err := loop.Dial(ctx, "tcp", c.LocalAddr().String())
			return err
		},
		"Read":  func(_ context.Context, c *loop.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write": func(_ context.Context, c *loop.Conn) error { _, err := c.Write(make([]byte, 64<<20)); return err },
		"raw Read": func(_ context.Context, c *loop.Conn) error {
			rc, err := c.SyscallConn()
			if err != nil {
				return err
			}
			return rc.Read(func(uintptr) bool { return false })
		},
		"SetDeadline": func(_ context.Context, c *loop.Conn) error { return c.SetDeadline(future()) },
		"TLS handshake": func(_ context.Context, c *loop.Conn) error {
			return loop.TLSServer(c, serverConfig()).HandshakeContext(context.Background())
		},
	}
	for name, wait := range tests {
		t.Run(name, func(t *testing.T) {
			_, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
				if err := elsewhere(func() error { return wait(ctx, c) }); !errors.Is(err, loop.ErrNotInJob) {
					t.Errorf("on another goroutine: %v, want %v", err, loop.ErrNotInJob)
				}
				return loop.Sleep(ctx, 1) // the job itself may
			})
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

// A connection of another loop is as foreign as another goroutine.
func TestNotInJobOfThisLoop(t *testing.T) {
	l, other := looptest.New(t, loop.Config{}), looptest.New(t, loop.Config{})
	conns, release := make(chan *loop.Conn), make(chan bool)
	_, done := pair(t, other, func(ctx context.Context, c *loop.Conn) error {
		conns <- c
		<-release
		return nil
	})
	c := testkit.Receive(t, conns)
	looptest.Must(t, l, func(context.Context) error {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, loop.ErrNotInJob) {
			t.Errorf("Read in a job of another loop: %v, want %v", err, loop.ErrNotInJob)
		}
		return nil
	})
	close(release)
	testkit.Receive(t, done)
}

// Timers and wakes that are not for other goroutines do no harm there.
func TestTimerElsewhere(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	fired := make(chan string, 3)
	l.AfterFunc(time.Millisecond, func() { fired <- "first" })
	second := l.AfterFunc(time.Hour, func() { fired <- "second" })
	third := l.AfterFunc(time.Hour, func() { fired <- "third" })
	third.Stop()
	second.Reset(0)
	for range 2 {
		if f := testkit.Receive(t, fired); f == "third" {
			t.Error("a timer that was stopped has gone off")
		}
	}
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if _, err := takeCallback(j); err != nil {
			return err
		}
		go l.Ready(j)
		return j.Pause()
	})
}

// A TLS connection is refused at once, also where it would not have to wait.
func TestTLSElsewhere(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	done := make(chan bool)
	addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		defer close(done)
		for name, call := range map[string]func() error{
			"Read":       func() error { _, err := c.Read(make([]byte, 1)); return err },
			"Write":      func() error { _, err := c.Write([]byte("x")); return err },
			"CloseWrite": c.CloseWrite,
		} {
			if err := elsewhere(call); !errors.Is(err, loop.ErrNotInJob) {
				t.Errorf("%s on another goroutine: %v, want %v", name, err, loop.ErrNotInJob)
			}
		}
		return nil
	}})
	dialTLS(t, addr)
	testkit.Receive(t, done)
}

// A library that reads a connection on a goroutine of its own, as x/net/http2
// does, fails by an error.
func TestLibraryWithGoroutines(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		return elsewhere(func() error { _, err := io.Copy(io.Discard, c); return err })
	})
	if err := testkit.Receive(t, done); !errors.Is(err, loop.ErrNotInJob) {
		t.Errorf("Copy: %v, want %v", err, loop.ErrNotInJob)
	}
}

// A function that the loop calls never waits: it gets what there is, and
// ErrWouldBlock.
func TestWouldBlock(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	conns, release := make(chan *loop.Conn), make(chan bool)
	client, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		go func() { conns <- c }()
		return loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
	})
	c := testkit.Receive(t, conns)
	const big = 64 << 20
	written := 0
	looptest.Call(t, l, func() {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != loop.ErrWouldBlock {
			t.Errorf("Read: %d, %v, want %v", n, err, loop.ErrWouldBlock)
		}
		var err error
		if written, err = c.Write(make([]byte, big)); written == 0 || written == big || err != loop.ErrWouldBlock {
			t.Errorf("Write: %d bytes, %v, want some and %v", written, err, loop.ErrWouldBlock)
		}
		var ne net.Error
		if !errors.As(err, &ne) || ne.Timeout() {
			t.Errorf("%v is no net.Error, or says that it is a timeout", err)
		}
	})
	expectZeros(t, client, int64(written))
	send(t, client, "x")
	testkit.Eventually(t, "Read has something", func() bool {
		n := 0
		looptest.Call(t, l, func() { n, _ = c.Read(make([]byte, 1)) })
		return n == 1
	})
	close(release)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// The same on a TLS connection: what Write says it has taken arrives.
func TestTLSWouldBlock(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	conns, release := make(chan *loop.TLSConn), make(chan bool)
	addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(ctx context.Context, c *loop.TLSConn) error {
		go func() { conns <- c }()
		return loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
	}})
	client := dialTLS(t, addr)
	c := testkit.Receive(t, conns)
	const big = 64 << 20
	written := 0
	looptest.Call(t, l, func() {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != loop.ErrWouldBlock {
			t.Errorf("Read: %d, %v, want %v", n, err, loop.ErrWouldBlock)
		}
		var err error
		if written, err = c.Write(make([]byte, big)); written == 0 || written == big || err != loop.ErrWouldBlock {
			t.Errorf("Write: %d bytes, %v, want some and %v", written, err, loop.ErrWouldBlock)
		}
		if n, err := c.Write([]byte("more")); n != 0 || err != loop.ErrWouldBlock {
			t.Errorf("Write while something is left: %d bytes, %v, want %v", n, err, loop.ErrWouldBlock)
		}
	})
	expectZeros(t, client, int64(written))
	close(release)
	expectEOF(t, client)
}

// Shutdown in a job, or in a function that the loop calls, would wait for
// itself.
func TestShutdownOnLoop(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		if err := l.Shutdown(ctx); !errors.Is(err, loop.ErrOnLoop) {
			t.Errorf("in a job: %v, want %v", err, loop.ErrOnLoop)
		}
		return nil
	})
	looptest.Call(t, l, func() {
		if err := l.Shutdown(context.Background()); !errors.Is(err, loop.ErrOnLoop) {
			t.Errorf("in a function of Post: %v, want %v", err, loop.ErrOnLoop)
		}
	})
	if l.ShuttingDown() {
		t.Error("the loop shuts down all the same")
	}
}

// Handles and contexts say the truth on every goroutine.
func TestCurrent(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		j, ok := jobs.FromContext(ctx)
		if c, cok := jobs.Current(); !ok || !cok || c != j || l.Current() != j {
			t.Errorf("inside: FromContext %v %t, Current %v %t", j, ok, c, cok)
		}
		return elsewhere(func() error {
			if _, ok := jobs.FromContext(ctx); ok {
				t.Error("FromContext finds the job on another goroutine")
			}
			if _, ok := jobs.Current(); ok {
				t.Error("Current finds a job on a goroutine that is none")
			}
			return nil
		})
	})
	looptest.Call(t, l, func() {
		if _, ok := jobs.Current(); ok {
			t.Error("Current finds a job where none runs")
		}
	})
}

// dialTLS makes a handshake from outside the loop.
func dialTLS(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c := tls.Client(testkit.Dial(t, addr), clientConfig())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A goroutine that writes without ever having to wait does no harm to the jobs
// that run meanwhile.
func TestForeignWriterHarmsNobody(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("what it does is a data race")
	}
	l := looptest.New(t, loop.Config{})
	conns, release := make(chan *loop.Conn), make(chan bool)
	sink, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		conns <- c
		return loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
	})
	go io.Copy(io.Discard, sink)
	c := testkit.Receive(t, conns)
	stop := make(chan bool)
	stopped := make(chan bool)
	go func() {
		defer close(stopped)
		for b := []byte("x"); ; {
			select {
			case <-stop:
				return
			default:
				c.Write(b)
			}
		}
	}()
	// Jobs that often give way to others.
	client, read := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		for b, n := make([]byte, 1), 0; n < 100_000; {
			m, err := c.Read(b)
			if err != nil {
				return err
			}
			n += m
		}
		return nil
	})
	if _, err := client.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, read); err != nil {
		t.Error(err)
	}
	close(stop)
	testkit.Receive(t, stopped)
	close(release)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}
