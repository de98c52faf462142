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
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

func past() time.Time   { return time.Now().Add(-time.Second) }
func soon() time.Time   { return time.Now().Add(5 * time.Millisecond) }
func future() time.Time { return time.Now().Add(time.Hour) }

// wantTimeout returns nil if err is what a deadline ends an operation with.
func wantTimeout(what string, err error) error {
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		return fmt.Errorf("%s: %v, want a timeout", what, err)
	}
	return nil
}

func TestDeadlines(t *testing.T) {
	read := func(c *loop.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	// More than the kernel's buffers take.
	write := func(c *loop.Conn) error { _, err := c.Write(make([]byte, 64<<20)); return err }

	tests := []struct {
		name string
		cfg  loop.Config
		set  func(c *loop.Conn) error
		op   func(c *loop.Conn) error
	}{
		{"read, past", loop.Config{}, func(c *loop.Conn) error { return c.SetReadDeadline(past()) }, read},
		{"read, soon", loop.Config{}, func(c *loop.Conn) error { return c.SetReadDeadline(soon()) }, read},
		{"read, both soon", loop.Config{}, func(c *loop.Conn) error { return c.SetDeadline(soon()) }, read},
		{"write, past", loop.Config{}, func(c *loop.Conn) error { return c.SetWriteDeadline(past()) }, write},
		{"write, soon", loop.Config{}, func(c *loop.Conn) error { return c.SetWriteDeadline(soon()) }, write},
		{"long ago", loop.Config{}, func(c *loop.Conn) error { return c.SetDeadline(time.Unix(1, 0)) }, read},
		{"later, then sooner", loop.Config{}, func(c *loop.Conn) error {
			c.SetDeadline(future())
			return c.SetDeadline(soon())
		}, read},
		{"IdleTimeout", loop.Config{IdleTimeout: 5 * time.Millisecond}, nil, read},
		{"IdleTimeout, after a deadline was cleared", loop.Config{IdleTimeout: 5 * time.Millisecond},
			func(c *loop.Conn) error {
				c.SetDeadline(future())
				return c.SetDeadline(time.Time{})
			}, read},
		{"WriteTimeout", loop.Config{WriteTimeout: 5 * time.Millisecond}, nil, write},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := looptest.New(t, tt.cfg)
			_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
				if tt.set != nil {
					if err := tt.set(c); err != nil {
						return err
					}
				}
				for range 2 { // it stays exceeded
					if err := wantTimeout("the operation", tt.op(c)); err != nil {
						return err
					}
				}
				return nil
			})
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

// A deadline outranks Config's timeouts, and a negative one of those is none.
func TestDeadlineOutranksTimeout(t *testing.T) {
	for name, cfg := range map[string]loop.Config{
		"deadline": {IdleTimeout: 1},
		"no bound": {IdleTimeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, cfg)
			reading := make(chan bool)
			c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
				if name == "deadline" {
					c.SetDeadline(future())
				}
				l.AfterFunc(5*time.Millisecond, func() { close(reading) })
				return readAll(c, "x")
			})
			testkit.Receive(t, reading) // the timeout would have passed
			send(t, c, "x")
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeadlineExceededThenCleared(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		c.SetReadDeadline(past())
		_, err := c.Read(make([]byte, 1))
		if err := wantTimeout("Read", err); err != nil {
			return err
		}
		if _, err := io.WriteString(c, "go on"); err != nil {
			return err // the other direction has a deadline of its own
		}
		c.SetReadDeadline(time.Time{})
		return readAll(c, "x")
	})
	testkit.WantRead(t, c, "go on")
	send(t, c, "x")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A deadline set by another job is for the wait in progress too.
func TestDeadlineDuringWait(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	conns := make(chan *loop.Conn, 1)
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		conns <- c
		_, err := c.Read(make([]byte, 1))
		return wantTimeout("Read", err)
	})
	c := testkit.Receive(t, conns)
	looptest.Settle(t, l)
	looptest.Must(t, l, func(context.Context) error { return c.SetReadDeadline(future()) })
	looptest.Settle(t, l)
	looptest.Must(t, l, func(context.Context) error { return c.SetReadDeadline(soon()) })
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// One that is moved passes all the same, later.
func TestDeadlineMovedALittle(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		const d = 5 * time.Millisecond
		until := time.Now().Add(3 * d)
		c.SetReadDeadline(time.Now().Add(d))
		l.Go(func(context.Context) error { return c.SetReadDeadline(until) })
		_, err := c.Read(make([]byte, 1))
		if early := time.Until(until); early > 0 {
			return fmt.Errorf("Read ended %v before its deadline", early)
		}
		return wantTimeout("Read", err)
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// One that is moved, or cleared, before it has passed has no effect.
func TestDeadlineExtendedDuringWait(t *testing.T) {
	for name, to := range map[string]func() time.Time{
		"extended": future,
		"cleared":  func() time.Time { return time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			passed := make(chan bool)
			c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
				const d = 5 * time.Millisecond
				c.SetReadDeadline(time.Now().Add(d))
				l.Go(func(ctx context.Context) error {
					c.SetReadDeadline(to())
					if err := loop.Sleep(ctx, 2*d); err != nil {
						return err
					}
					close(passed)
					return nil
				})
				return readAll(c, "x")
			})
			testkit.Receive(t, passed)
			send(t, c, "x")
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeadlineWhilePauseIsBlocked(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	_, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		j, _ := jobs.FromContext(ctx)
		j.BlockPause()
		c.SetReadDeadline(soon())
		_, err := c.Read(make([]byte, 1))
		return wantTimeout("Read", err)
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Two jobs wait on one connection; each is told.
func TestDeadlineOfSeveralJobs(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	second := make(chan error, 1)
	_, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		c.SetDeadline(soon())
		read := func(context.Context) error {
			_, err := c.Read(make([]byte, 1))
			return wantTimeout("Read", err)
		}
		l.Go(func(ctx context.Context) error { second <- read(ctx); return nil })
		return read(ctx)
	})
	for _, ch := range []<-chan error{done, second} {
		if err := testkit.Receive(t, ch); err != nil {
			t.Error(err)
		}
	}
}
