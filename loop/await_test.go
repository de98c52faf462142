package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

func TestAwait(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for name, begin := range map[string]func(done func()){
		"another goroutine": func(done func()) { go done() },
		"at once":           func(done func()) { done() },
		"more than once":    func(done func()) { done(); go done(); go done() },
		"a timer":           func(done func()) { l.AfterFunc(time.Millisecond, done) },
		"another job": func(done func()) {
			if err := l.Go(func(context.Context) error { done(); return nil }); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			looptest.Must(t, l, func(ctx context.Context) error {
				var called atomic.Bool
				err := loop.Await(ctx, func(done func()) { begin(func() { called.Store(true); done() }) })
				if err == nil && !called.Load() {
					return errors.New("Await has returned before done was called")
				}
				return err
			})
		})
	}
}

// Wakes and resumes that mean something else do not end it.
func TestAwaitIsNotWoken(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	handles := make(chan jobs.Job, 1)
	var called atomic.Bool
	release := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		handles <- j
		err := loop.Await(ctx, func(done func()) {
			go func() { <-release; called.Store(true); done() }()
		})
		if err == nil && !called.Load() {
			return errors.New("Await has returned before done was called")
		}
		// The wake was not lost either.
		return errors.Join(err, j.Pause())
	})
	j := testkit.Receive(t, handles)
	if err := l.Wake(j); err != nil {
		t.Fatal(err)
	}
	looptest.Settle(t, l)
	close(release)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// While pausing is blocked, the thread waits.
func TestAwaitBlocked(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		j.BlockPause()
		defer j.UnblockPause()
		resumes := j.Resumes()
		if err := loop.Await(ctx, func(done func()) { go done() }); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if err := loop.Await(short, func(func()) {}); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("Await: %v, want %v", err, context.DeadlineExceeded)
		}
		if j.Resumes() != resumes {
			return errors.New("the job has paused")
		}
		return nil
	})
}

type derivedKey struct{}

// Whatever waits ends with its context: at once if that has ended already.
func TestContextEnds(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // a name server that does not answer
		return nil, ctx.Err()
	}}
	for name, wait := range map[string]func(ctx context.Context) error{
		"Sleep": func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) },
		"Await": func(ctx context.Context) error { return loop.Await(ctx, func(func()) {}) },
		"Dial": func(ctx context.Context) error {
			_, err := (&loop.Dialer{Resolver: silent}).Dial(ctx, "tcp", "nobody.invalid:1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			looptest.Must(t, l, func(ctx context.Context) error {
				deadline, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				derived := context.WithValue(deadline, derivedKey{}, true)
				if err := wait(derived); !errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("with a deadline: %v", err)
				}
				canceled, cancel := context.WithCancel(ctx)
				l.AfterFunc(time.Millisecond, cancel)
				if err := wait(canceled); !errors.Is(err, context.Canceled) {
					return fmt.Errorf("cancelled meanwhile: %v", err)
				}
				if err := wait(canceled); !errors.Is(err, context.Canceled) {
					return fmt.Errorf("cancelled before: %v", err)
				}
				return loop.Sleep(ctx, 1) // and the job goes on
			})
		})
	}
}

// A job that waits for Wake, and one that waits by Await, is left alone.
func TestWaitingJobsAreNotPolled(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const n = 100
	var resumes, waiting atomic.Int64
	for range n {
		looptest.Spawn(t, l, func(ctx context.Context) error {
			waiting.Add(1)
			err := loop.Await(ctx, func(func()) {})
			resumes.Add(1)
			return err
		})
		looptest.Spawn(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			waiting.Add(1)
			for {
				if err := j.Pause(); err != nil {
					return err
				}
				resumes.Add(1)
			}
		})
	}
	testkit.Eventually(t, "all wait", func() bool { return waiting.Load() == 2*n })
	// Intervals double: after so many resumes of each, the next is far away.
	passed := make(chan int64, 1)
	looptest.Call(t, l, func() {
		l.AfterFunc(300*time.Millisecond, func() { passed <- resumes.Load() })
	})
	if r := testkit.Receive(t, passed); r > 12*n {
		t.Errorf("%d idle jobs were resumed %d times in 0.3 s", n, r)
	}
	l.Close()
}

// Wake is never refused, never lost, and one is enough: also for a job that
// has not paused yet, or waits for something else just now.
func TestWakeIsKept(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxQueued: 1})
	handles := make(chan jobs.Job, 1)
	woken := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if _, err := takeCallback(j); err != nil { // so that nobody polls it
			return err
		}
		handles <- j
		<-woken // the whole loop waits
		if err := loop.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
		return j.Pause()
	})
	j := testkit.Receive(t, handles)
	if err := l.Post(func() {}); err != nil { // the queue is full from here on
		t.Fatal(err)
	}
	for range 1000 {
		if err := l.Wake(j); err != nil {
			t.Fatalf("Wake: %v", err)
		}
	}
	close(woken)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Jobs that start others and wait for them get on, however full the loop is.
func TestHelpers(t *testing.T) {
	const n = 10
	l := looptest.New(t, loop.Config{MaxJobs: n})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		if err := readAll(c, "x"); err != nil {
			return err
		}
		for range 2 {
			if err := loop.Await(ctx, func(done func()) {
				if err := l.Go(func(ctx context.Context) error { defer done(); return loop.Sleep(ctx, time.Millisecond) }); err != nil {
					t.Error(err)
					done()
				}
			}); err != nil {
				return err
			}
		}
		_, err := c.Write([]byte("y"))
		return err
	}))
	var clients []net.Conn
	for range n {
		clients = append(clients, testkit.Dial(t, addr))
	}
	testkit.Eventually(t, "the loop is full", func() bool { return l.Stats().JobsPaused == n })
	for _, c := range clients {
		send(t, c, "x")
	}
	for _, c := range clients {
		testkit.WantRead(t, c, "y")
	}
}

// There is a bound, and it is told at once.
func TestTooManyHelpers(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 2})
	looptest.Must(t, l, func(ctx context.Context) error {
		helper := func(ctx context.Context) error { return loop.Await(ctx, func(func()) {}) }
		for i := range 8 {
			if err := l.Go(helper); err != nil {
				return fmt.Errorf("helper %d: %w", i, err)
			}
		}
		if err := l.Go(helper); !errors.Is(err, loop.ErrTooManyJobs) {
			return fmt.Errorf("one more: %v, want %v", err, loop.ErrTooManyJobs)
		}
		return nil
	})
	// They take no room from others.
	looptest.Must(t, l, func(context.Context) error { return nil })
	l.Close()
}

// Shutdown returns when its context ends, whatever a job does.
func TestShutdownDoesNotWaitForBlockedJob(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	blocked, release := make(chan bool), make(chan bool)
	looptest.Spawn(t, l, func(context.Context) error {
		close(blocked)
		<-release
		return nil
	})
	testkit.Receive(t, blocked)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
	close(release)
	wantEnd(t, ran, nil)
}
