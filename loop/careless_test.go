package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// What careless users write does not stop the loop, nor make it spin.

// A handler that was called because there is something to read, and parks without
// having read, is called once, and not over and over.
func TestParkWithoutRead(t *testing.T) {
	for name, park := range map[string]loop.Handler{
		"plain": loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return c.Park(nil) }),
		"TLS":   &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error { return c.Park(nil) }},
	} {
		for _, rst := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var log testkit.Log
				l := looptest.New(t, loop.Config{Logger: log.Logger()})
				addr := looptest.Listen(t, l, park)
				c := testkit.Dial(t, addr)
				if name == "TLS" {
					dialTLS(t, addr).Write([]byte("x"))
				}
				if rst {
					testkit.Reset(c)
				} else {
					send(t, c, "x")
				}
				testkit.Eventually(t, "the connections end", func() bool { s := looptest.Settle(t, l); return s.Accepted > 0 && s.Conns == 0 })
				if s := looptest.Settle(t, l); s.JobsStarted > 6 {
					t.Errorf("%d jobs were started", s.JobsStarted)
				}
			})
		}
	}
}

// TLS knows as little to wait for after a deadline that has passed and was told as
// a plain connection does, and nothing after a handshake that has failed.
func TestTLSParkInVain(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		h := &loop.TLSHandler{Config: serverConfig()}
		h.Handler = func(_ context.Context, c *loop.TLSConn) error {
			if c.Value() == nil {
				c.SetValue(true)
				c.SetReadDeadline(soon())
				return c.Park(nil)
			}
			c.Read(make([]byte, 1))
			return c.Park(nil)
		}
		expectEOF(t, dialTLS(t, looptest.Listen(t, l, h)))
		if s := looptest.Settle(t, l); s.JobsStarted > 3 {
			t.Errorf("%d jobs were started", s.JobsStarted)
		}
	})
	t.Run("handshake", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		var again func(context.Context, *loop.TLSConn) error
		again = func(_ context.Context, c *loop.TLSConn) error {
			c.Read(make([]byte, 1))
			return c.Park(again)
		}
		addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
			return again(ctx, loop.TLSServer(c, serverConfig()))
		}))
		send(t, testkit.Dial(t, addr), "GET / HTTP/1.1\r\n\r\n")
		testkit.Eventually(t, "it ends", func() bool { s := looptest.Settle(t, l); return s.Accepted == 1 && s.Conns == 0 })
		if s := looptest.Settle(t, l); s.JobsStarted > 3 {
			t.Errorf("%d jobs were started", s.JobsStarted)
		}
	})
}

// A job that goes on for ever, whatever its connection says, is ended with the
// loop.
func TestCloseEndsJobThatIgnoresErrors(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{Logger: silent()})
	ran := run(t, l, context.Background())
	c, _ := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		for b := make([]byte, 1); ; {
			n, _ := c.Read(b)
			c.Write(b[:n])
		}
	})
	go func() {
		for b := make([]byte, 4096); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	go io.Copy(io.Discard, c)
	testkit.Eventually(t, "it works", func() bool { return l.Stats().Turns > 10 })
	l.Close()
	wantEnd(t, ran, nil)
}

// Half an answer is not given the end of a whole one.
func TestNoGoodbyeAfterFailure(t *testing.T) {
	half := func(c *loop.TLSConn) error { _, err := io.WriteString(c, "half"); return err }
	for name, end := range map[string]func(ctx context.Context, c *loop.TLSConn) error{
		"panic":         func(context.Context, *loop.TLSConn) error { panic("in the middle") },
		"Goexit":        func(context.Context, *loop.TLSConn) error { runtime.Goexit(); return nil },
		"Loop.Close":    func(ctx context.Context, c *loop.TLSConn) error { c.Loop().Close(); return loop.Sleep(ctx, time.Hour) },
		"NetConn.Close": func(_ context.Context, c *loop.TLSConn) error { return c.NetConn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{Logger: silent()})
			rec := &recordTypes{}
			addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(ctx context.Context, c *loop.TLSConn) error {
				if err := half(c); err != nil {
					return err
				}
				return end(ctx, c)
			}})
			rec.Conn = testkit.Dial(t, addr)
			cfg := clientConfig()
			cfg.MaxVersion = tls.VersionTLS12 // where the type of an alert shows
			// Go's own takes the end of the TCP connection for the end.
			io.ReadAll(tls.Client(rec, cfg))
			const alert = 21
			if n := len(rec.types); n == 0 || rec.types[n-1] == alert {
				t.Errorf("records of types %d, want the last to be no alert, %d", rec.types, alert)
			}
		})
	}
}

// runtime.Goexit in a hook, as t.FailNow does it, does not keep the loop from
// ending.
func TestGoexitInHooks(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{Logger: silent()})
	ran := run(t, l, context.Background())
	h := tlsEcho()
	h.OnClose = func(*loop.TLSConn) { runtime.Goexit() }
	addr := looptest.Listen(t, l, h)
	for range 3 {
		dialTLS(t, addr)
	}
	testkit.Eventually(t, "they are there", func() bool { return looptest.Settle(t, l).Conns == 3 })
	l.Close()
	wantEnd(t, ran, nil)
	looptest.WantNothingLeft(t, l)
}

// A deadline that a hook sets holds, and none that it sets lifts the bound on the
// handshake.
func TestDeadlinesInHooks(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	ended := make(chan error, 1)
	h := &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		_, err := c.Read(make([]byte, 1))
		ended <- err
		return err
	}}
	h.OnHandshake = func(c *loop.TLSConn, _ time.Duration, _ error) { c.SetReadDeadline(soon()) }
	dialTLS(t, looptest.Listen(t, l, h))
	if err := testkit.Receive(t, ended); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want a timeout", err)
	}
	h = tlsEcho()
	h.HandshakeTimeout = 30 * time.Millisecond
	h.OnHello = func(c *loop.TLSConn) {
		c.SetDeadline(time.Time{})
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, loop.ErrInUse) {
			t.Errorf("Read in OnHello: %v, want %v", err, loop.ErrInUse)
		}
	}
	h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) { ended <- err }
	send(t, testkit.Dial(t, looptest.Listen(t, l, h)), string(clientHello(t)[:20]))
	if err := testkit.Receive(t, ended); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the handshake: %v, want a timeout", err)
	}
}

// Numbers at the end of their range mean what they say.
func TestHugeNumbers(t *testing.T) {
	if _, err := loop.New(loop.Config{PollInterval: math.MaxInt64}); !errors.Is(err, loop.ErrInvalidConfig) {
		t.Errorf("PollInterval of ages: %v, want %v", err, loop.ErrInvalidConfig)
	}
	l := looptest.New(t, loop.Config{MaxJobs: math.MaxInt, IdleTimeout: math.MaxInt64, WriteTimeout: math.MaxInt64, LingerTimeout: math.MaxInt64, BlockedAfter: math.MaxInt64})
	h := tlsEcho()
	h.HandshakeTimeout = math.MaxInt64
	c := dialTLS(t, looptest.Listen(t, l, h))
	send(t, c, "x")
	testkit.WantRead(t, c, "x")
	looptest.Must(t, l, func(ctx context.Context) error {
		return loop.Await(ctx, func(done func()) {
			if err := l.Go(func(context.Context) error { done(); return nil }); err != nil {
				t.Error(err)
				done()
			}
		})
	})
}

// What has been waited for counts, also for a job that is cancelled.
func TestAwaitDoneAndCanceled(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		return loop.Await(ctx, func(done func()) {
			l.AfterFunc(0, func() { done(); l.Close() })
		})
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Errorf("Await: %v", err)
	}
	wantEnd(t, ran, nil)
}

// badHandler is a slog.Handler that panics.
type badHandler struct{ slog.Handler }

func (badHandler) Enabled(context.Context, slog.Level) bool { panic("in Enabled") }

// A logger that panics does no harm.
func TestLoggerPanics(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: slog.New(badHandler{slog.DiscardHandler})})
	for range 3 {
		do(t, l, func(context.Context) error { return errors.New("to be logged") })
	}
	looptest.Settle(t, l)
}

// Shutdown of a group inside one of its jobs, and Go during it.
func TestShutdownMisused(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	release := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		err := loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
		if err == nil { // a job may start helpers to the end
			err = l.Go(func(context.Context) error { return nil })
		}
		return err
	})
	testkit.Eventually(t, "it waits", func() bool { return l.Stats().JobsPaused == 1 })
	shut := make(chan error, 1)
	go func() { shut <- l.Shutdown(context.Background()) }()
	testkit.Eventually(t, "it shuts down", l.ShuttingDown)
	if err := l.Go(func(context.Context) error { return nil }); !errors.Is(err, loop.ErrShutdown) {
		t.Errorf("Go during Shutdown: %v, want %v", err, loop.ErrShutdown)
	}
	close(release)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, shut); err != nil {
		t.Error(err)
	}
	wantEnd(t, ran, nil)

	g, err := loop.NewGroup(2, loop.Config{BlockedAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()
	inJob := make(chan error, 1)
	if err := g.Loops()[1].Go(func(context.Context) error { inJob <- g.Shutdown(context.Background()); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, inJob); !errors.Is(err, loop.ErrOnLoop) {
		t.Errorf("Group.Shutdown in a job: %v, want %v", err, loop.ErrOnLoop)
	}
	g.Close()
	testkit.Receive(t, ended)
}
