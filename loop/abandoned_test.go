package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// await pauses j, as code that knows nothing of loops does, until cond.
func await(j jobs.Job, cond func() bool) error {
	for !cond() {
		if err := j.Pause(); err != nil {
			return err
		}
	}
	return nil
}

func never() bool { return false }

type callback func()

// takeCallback is what an engine does that will call back.
func takeCallback(j jobs.Job) (callback, error) {
	fn, arg, ok := j.WaitCtx().Callback()
	if !ok {
		return nil, errors.New("no callback in the job's WaitCtx")
	}
	return func() { fn(arg) }, nil
}

// A client that resets its connection while an engine works for it: the job is
// cancelled and cleans up; what the engine says later does no harm.
func TestAbandonedInEngine(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	taken := make(chan callback, 1)
	deferred := make(chan bool, 1)
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		defer func() { deferred <- true }()
		j, _ := jobs.FromContext(ctx)
		wake, err := takeCallback(j)
		if err != nil {
			return err
		}
		taken <- wake
		return await(j, never)
	})
	wake := testkit.Receive(t, taken)
	looptest.Settle(t, l)
	testkit.Reset(c)
	if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("the job ended with %v, want %v", err, jobs.ErrCanceled)
	}
	testkit.Receive(t, deferred)

	// The late result: to a job that is no more, and to the next one in its place.
	wake()
	looptest.Settle(t, l)
	started := make(chan bool)
	finish := false
	next := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		own, err := takeCallback(j)
		if err != nil {
			return err
		}
		defer l.AfterFunc(5*time.Millisecond, func() { finish = true; own() }).Stop()
		close(started)
		return await(j, func() bool { return finish })
	})
	testkit.Receive(t, started)
	wake()
	wake()
	if err := testkit.Receive(t, next); err != nil {
		t.Error(err)
	}
	if s := looptest.Settle(t, l); s.JobsCanceled != 1 || s.Conns != 0 {
		t.Errorf("%+v, want 1 job canceled and no connection", s)
	}
}

// The connection dies while the job waits for anything else, or before that.
func TestAbandonedElsewhere(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, wait := range map[string]func(ctx context.Context) error{
		"Sleep": func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) },
		"Await": func(ctx context.Context) error { return loop.Await(ctx, func(func()) {}) },
		"Pause": func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			if _, err := takeCallback(j); err != nil {
				return err
			}
			return await(j, never)
		},
		"another connection's Read": func(ctx context.Context) error {
			other, err := loop.Dial(ctx, "tcp", silent.Addr().String())
			if err != nil {
				return err
			}
			defer other.Close()
			_, err = other.Read(make([]byte, 1))
			return err
		},
		"Dial": func(ctx context.Context) error {
			d := loop.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done() // a name server that does not answer
				return nil, ctx.Err()
			}}}
			_, err := d.Dial(ctx, "tcp", "nowhere.invalid:1")
			return err
		},
	} {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset before %t", name, before), func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				waiting, wasReset := make(chan bool, 1), make(chan bool)
				c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
					waiting <- true
					if before {
						<-wasReset // the whole loop waits
					}
					return wait(ctx)
				})
				testkit.Receive(t, waiting)
				if before {
					testkit.Reset(c)
					close(wasReset)
				} else {
					testkit.Eventually(t, "the job waits", func() bool { return l.Stats().JobsPaused == 1 })
					testkit.Reset(c)
				}
				if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
					t.Errorf("the job ended with %v, want %v", err, jobs.ErrCanceled)
				}
			})
		}
	}
}

// A client that only stops sending still wants its answer.
func TestHalfClosedIsNotAbandoned(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	taken := make(chan callback, 1)
	answer := ""
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		j, _ := jobs.FromContext(ctx)
		wake, err := takeCallback(j)
		if err != nil {
			return err
		}
		taken <- wake
		if err := await(j, func() bool { return answer != "" }); err != nil {
			return err
		}
		_, err = c.Write([]byte(answer))
		return err
	})
	wake := testkit.Receive(t, taken)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	looptest.Settle(t, l)
	looptest.Call(t, l, func() { answer = "42" })
	wake()
	testkit.WantRead(t, c, "42")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A job that does not listen when it is cancelled is ended, and what comes
// after it in the same place is not harmed.
func TestAbandonedDoesNotListen(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, c *loop.Conn){
		"Sleep": func(ctx context.Context, _ *loop.Conn) { loop.Sleep(ctx, time.Hour) },
		"Pause": func(ctx context.Context, _ *loop.Conn) { j, _ := jobs.FromContext(ctx); j.Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			taken := make(chan callback, 1)
			c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
				j, _ := jobs.FromContext(ctx)
				wake, err := takeCallback(j)
				if err != nil {
					return err
				}
				taken <- wake
				j.Pause()
				for {
					wait(ctx, c)
				}
			})
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			testkit.Receive(t, taken)
			testkit.Reset(c)
			if err := testkit.Receive(t, done); err != looptest.ErrLeft {
				t.Errorf("the job ended with %v, want Goexit", err)
			}
			looptest.Must(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFD("r", int(r.Fd()), nil, nil); err != nil {
					return err
				}
				return j.Pause()
			})
		})
	}
}
