package loop_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// run runs l, which the test ends itself.
func run(t *testing.T, l *loop.Loop, ctx context.Context) <-chan error {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	looptest.Call(t, l, func() {})
	t.Cleanup(func() { looptest.WantNothingLeft(t, l) })
	return ran
}

func wantEnd(t *testing.T, ran <-chan error, want error) {
	t.Helper()
	if err := testkit.Receive(t, ran); !errors.Is(err, want) || (want == nil && err != nil) {
		t.Errorf("Run: %v, want %v", err, want)
	}
}

func TestRunTwice(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	if err := l.Run(context.Background()); err != loop.ErrRunning {
		t.Errorf("the second Run: %v, want %v", err, loop.ErrRunning)
	}
}

func TestRunContext(t *testing.T) {
	for name, with := range map[string]func() (context.Context, context.CancelFunc, error){
		"canceled": func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(context.Background())
			return ctx, cancel, context.Canceled
		},
		"deadline": func() (context.Context, context.CancelFunc, error) {
			ctx, expire := testkit.Expiring(context.Background())
			return ctx, expire, context.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.NewIdle(t, loop.Config{})
			ctx, end, want := with()
			ran := make(chan error, 1)
			job := looptest.Spawn(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) })
			started := make(chan bool)
			l.Go(func(context.Context) error { close(started); return nil })
			go func() { ran <- l.Run(ctx) }()
			testkit.Receive(t, started)
			end()
			wantEnd(t, ran, want)
			if err := testkit.Receive(t, job); err != jobs.ErrCanceled {
				t.Errorf("the job ended with %v, want %v", err, jobs.ErrCanceled)
			}
			looptest.WantNothingLeft(t, l)
		})
	}
	t.Run("done before", func(t *testing.T) {
		l := looptest.NewIdle(t, loop.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.Run(ctx); err != context.Canceled {
			t.Errorf("Run: %v, want %v", err, context.Canceled)
		}
	})
}

// A loop that never runs gives back what it was given.
func TestCloseBeforeRun(t *testing.T) {
	for name, end := range map[string]func(l *loop.Loop) error{
		"Close":    func(l *loop.Loop) error { return l.Close() },
		"Shutdown": func(l *loop.Loop) error { return l.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.NewIdle(t, loop.Config{})
			path := filepath.Join(t.TempDir(), "s")
			if _, err := l.Listen("unix", path, echo); err != nil {
				t.Fatal(err)
			}
			ln, err := l.Listen("tcp", "127.0.0.1:0", echo)
			if err != nil {
				t.Fatal(err)
			}
			closed, err := l.Listen("tcp", "127.0.0.1:0", echo)
			if err != nil {
				t.Fatal(err)
			}
			closed.Close()
			c := testkit.Dial(t, ln.Addr()) // to the kernel's backlog
			l.Go(func(context.Context) error { t.Error("a job runs"); return nil })
			l.Post(func() { t.Error("a function is called") })
			for range 2 {
				if err := end(l); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := l.Run(context.Background()); err != loop.ErrClosed {
				t.Errorf("Run: %v, want %v", err, loop.ErrClosed)
			}
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a connection is open")
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the socket file is there: %v", err)
			}
		})
	}
}

func TestCloseCancelsJobs(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	waits := map[string]func(ctx context.Context, c *loop.Conn) error{
		"Read":  func(_ context.Context, c *loop.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write": func(_ context.Context, c *loop.Conn) error { _, err := c.Write(make([]byte, 64<<20)); return err },
		"Sleep": func(ctx context.Context, _ *loop.Conn) error { return loop.Sleep(ctx, time.Hour) },
		"Pause": func(ctx context.Context, _ *loop.Conn) error {
			j, _ := jobs.FromContext(ctx)
			return await(j, never)
		},
	}
	ended := map[string]<-chan error{}
	for name, wait := range waits {
		_, ended[name] = pair(t, l, wait)
	}
	testkit.Eventually(t, "all wait", func() bool { return l.Stats().JobsPaused == uint64(len(waits)) })
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	wantEnd(t, ran, nil)
	for name, done := range ended {
		if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
			t.Errorf("%s: %v, want %v", name, err, jobs.ErrCanceled)
		}
	}
	if s := l.Stats(); s.JobsCanceled != uint64(len(waits)) {
		t.Errorf("%d jobs canceled, want %d", s.JobsCanceled, len(waits))
	}
}

func TestCloseInsideJob(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		l.Close()
		return loop.Sleep(ctx, time.Hour)
	})
	wantEnd(t, ran, nil)
	if err := testkit.Receive(t, done); err != jobs.ErrCanceled {
		t.Errorf("Sleep: %v, want %v", err, jobs.ErrCanceled)
	}
}

// A job that is busy, not waiting, is cancelled in one of its operations.
func TestCloseCancelsBusyJob(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	full := make(chan bool)
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		<-full // all its bytes are there
		l.Close()
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				return err
			}
		}
	})
	if _, err := c.Write(make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	close(full)
	if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("Read: %v, want %v", err, jobs.ErrCanceled)
	}
	wantEnd(t, ran, nil)
}

// What a job does when it is cancelled makes no more work.
func TestCloseAndJobGoesOn(t *testing.T) {
	for name, wait := range map[string]loop.HandlerFunc{
		"parks": func(_ context.Context, c *loop.Conn) error {
			c.Read(make([]byte, 1))
			return c.Park(echo)
		},
		"starts": func(ctx context.Context, c *loop.Conn) error {
			c.Read(make([]byte, 1))
			l := c.Loop()
			if err := l.Go(func(context.Context) error { return nil }); err != loop.ErrClosed {
				return loop.ErrQueueFull
			}
			l.AfterFunc(0, func() {})
			l.Listen("tcp", "127.0.0.1:0", echo)
			loop.Dial(ctx, "tcp", c.LocalAddr().String())
			return nil
		},
		"panics": func(_ context.Context, c *loop.Conn) error {
			defer func() { recover() }()
			c.Read(make([]byte, 1))
			panic("recovered")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.NewIdle(t, loop.Config{})
			ran := run(t, l, context.Background())
			_, done := pair(t, l, wait)
			testkit.Eventually(t, "the job waits", func() bool { return l.Stats().JobsPaused == 1 })
			l.Close()
			if err := testkit.Receive(t, done); err == loop.ErrQueueFull {
				t.Error("a job could be started")
			}
			wantEnd(t, ran, nil)
		})
	}
}

func TestCloseWithJobsQueued(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{MaxJobs: 1})
	ran := run(t, l, context.Background())
	addr := looptest.Listen(t, l, echo)
	first := looptest.Spawn(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) })
	for range 10 {
		l.Go(func(context.Context) error { t.Error("a job that was queued runs"); return nil })
	}
	testkit.Dial(t, addr)
	testkit.Eventually(t, "jobs queue", func() bool { return l.Stats().JobsQueued >= 10 })
	l.Close()
	wantEnd(t, ran, nil)
	testkit.Receive(t, first)
}

func TestShutdownWaitsForJobs(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	done := make(chan error, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		b := make([]byte, len("request"))
		if _, err := io.ReadFull(c, b); err != nil {
			return err // of a connection that only tries the listener
		}
		_, err := io.WriteString(c, "response")
		done <- err
		return err
	}))
	c := testkit.Dial(t, addr)
	testkit.Eventually(t, "the job waits", func() bool { return l.Stats().JobsPaused == 1 })
	shut := make(chan error, 1)
	go func() { shut <- l.Shutdown(context.Background()) }()
	testkit.Eventually(t, "Shutdown begins", l.ShuttingDown)
	testkit.Eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-shut:
		t.Fatalf("Shutdown returned %v with a job that works", err)
	default:
	}
	send(t, c, "request")
	testkit.WantRead(t, c, "response")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, shut); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wantEnd(t, ran, nil)
}

// A job given to Go before Shutdown runs, also if the loop has not taken it up.
func TestShutdownRunsWhatWasAsked(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	var done <-chan error
	shut := make(chan error, 1)
	looptest.Call(t, l, func() { // the loop takes nothing up meanwhile
		done = looptest.Spawn(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, 1) })
		go func() { shut <- l.Shutdown(context.Background()) }()
		testkit.Eventually(t, "Shutdown begins", l.ShuttingDown)
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, shut); err != nil {
		t.Error(err)
	}
	wantEnd(t, ran, nil)
}

func TestShutdownGivesUp(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	done := looptest.Spawn(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) })
	testkit.Eventually(t, "the job sleeps", func() bool { return l.Stats().JobsPaused == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if err := l.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := testkit.Receive(t, done); err != jobs.ErrCanceled {
		t.Errorf("the job ended with %v, want %v", err, jobs.ErrCanceled)
	}
	wantEnd(t, ran, nil)
	if err := l.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown of a loop that has ended: %v", err)
	}
}

// Everything that may be called from anywhere, called while the loop ends.
func TestStopRaces(t *testing.T) {
	for range 100 {
		l := looptest.NewIdle(t, loop.Config{Logger: silent()})
		ln, err := l.Listen("tcp", "127.0.0.1:0", echo)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- l.Run(context.Background()) }()
		var wake callback
		var job jobs.Job
		taken := make(chan bool)
		l.Go(func(ctx context.Context) (err error) {
			job, _ = jobs.FromContext(ctx)
			wake, err = takeCallback(job)
			close(taken)
			if err != nil {
				return err
			}
			return await(job, never)
		})
		testkit.Receive(t, taken)
		var wg sync.WaitGroup
		for _, f := range []func(){
			func() { l.Post(func() {}) },
			func() { l.Go(func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) }) },
			func() { wake() },
			func() { l.Wake(job) },
			func() { l.Stats() },
			func() { l.Listen("tcp", "127.0.0.1:0", echo) },
			func() { ln.Close() },
			func() {
				if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
					c.Close()
				}
			},
			func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(300))*time.Microsecond)
				defer cancel()
				l.Shutdown(ctx)
			},
			func() { l.Close() },
		} {
			wg.Go(func() {
				for range rand.IntN(10) {
					f()
				}
			})
		}
		wg.Wait()
		l.Close()
		wantEnd(t, ran, nil)
		looptest.WantNothingLeft(t, l)
	}
}

// Run, Close and Shutdown at the same time, on a loop that is new.
func TestStartRaces(t *testing.T) {
	for range 200 {
		l := looptest.NewIdle(t, loop.Config{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.Run(context.Background()); err != nil && err != loop.ErrClosed {
				t.Errorf("Run: %v", err)
			}
		})
		wg.Go(func() { l.Close() })
		wg.Go(func() { l.Shutdown(context.Background()) })
		wg.Wait()
	}
}
