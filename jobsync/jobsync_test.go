package jobsync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/jobsync"
	"github.com/jobloop/jobloop/loop"
)

// Jobs of two loops hold a lock over their pauses, one at a time and in turn.
func TestMutex(t *testing.T) {
	loops := []*loop.Loop{looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)}), looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})}
	var m jobsync.Mutex
	var inside, most atomic.Int32
	n := 0
	var all []<-chan error
	for i := range 100 {
		all = append(all, looptest.Spawn(t, loops[i%2], func(ctx context.Context) error {
			for range 10 {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				most.Store(max(most.Load(), inside.Add(1)))
				n++
				if err := loop.Sleep(ctx, time.Microsecond); err != nil {
					return err
				}
				inside.Add(-1)
				m.Unlock()
			}
			return nil
		}))
	}
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	if n != 1000 || most.Load() != 1 {
		t.Errorf("%d times locked, %d at a time", n, most.Load())
	}
	if !m.TryLock() || m.TryLock() {
		t.Error("TryLock does not tell whether it is locked")
	}
	m.Unlock()
}

// Who gives up waiting does not get the lock, and does not keep it from others.
func TestMutexGivesUp(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})
	var m jobsync.Mutex
	err := testkit.Receive(t, looptest.Spawn(t, l, func(ctx context.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		var g jobsync.Group
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		waited := make(chan error, 2)
		for _, c := range []context.Context{short, ctx} {
			if err := g.Go(c, func(own context.Context) error {
				err := m.Lock(own)
				waited <- err
				if err == nil {
					m.Unlock()
				}
				return nil
			}); err != nil {
				return err
			}
		}
		for len(waited) == 0 {
			if err := loop.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		if err := <-waited; !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("Lock with a deadline: %v", err)
		}
		m.Unlock()
		return errors.Join(g.Wait(ctx), <-waited)
	}))
	if err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Unlock of an unlocked Mutex did not panic")
			}
		}()
		m.Unlock()
	}()
}

// Values come out once, in order for each sender, whoever sends and receives.
func TestChan(t *testing.T) {
	loops := []*loop.Loop{looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)}), looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})}
	c := jobsync.NewChan[[2]int](3)
	const senders, each = 10, 200
	var all []<-chan error
	for s := range senders {
		all = append(all, looptest.Spawn(t, loops[s%2], func(ctx context.Context) error {
			for i := range each {
				if err := c.Send(ctx, [2]int{s, i}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	var mu sync.Mutex
	last := make(map[int]int)
	total := 0
	var receivers []<-chan error
	for r := range 4 {
		receivers = append(receivers, looptest.Spawn(t, loops[r%2], func(ctx context.Context) error {
			for {
				v, err := c.Receive(ctx)
				if errors.Is(err, jobsync.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
				mu.Lock()
				total++
				last[v[0]] = max(last[v[0]], v[1])
				mu.Unlock()
			}
		}))
	}
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	c.Close()
	c.Close()
	for _, done := range receivers {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	if total != senders*each || len(last) != senders {
		t.Errorf("%d values of %d senders", total, len(last))
	}
	if err := testkit.Receive(t, looptest.Spawn(t, loops[0], func(ctx context.Context) error { return c.Send(ctx, [2]int{}) })); !errors.Is(err, jobsync.ErrClosed) {
		t.Errorf("Send on a closed channel: %v", err)
	}
}

func TestGroup(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})
	first := errors.New("the first")
	err := testkit.Receive(t, looptest.Spawn(t, l, func(ctx context.Context) error {
		var g jobsync.Group
		if err := g.Wait(ctx); err != nil {
			return fmt.Errorf("Wait for none: %w", err)
		}
		ended := 0
		for i := range 10 {
			if err := g.Go(ctx, func(ctx context.Context) error {
				defer func() { ended++ }()
				if err := loop.Sleep(ctx, time.Duration(i+1)*time.Millisecond); err != nil || i > 0 {
					return err
				}
				return first
			}); err != nil {
				return err
			}
		}
		if err := g.Wait(ctx); err != first || ended != 10 {
			return fmt.Errorf("Wait: %v when %d have ended", err, ended)
		}
		var bad jobsync.Group
		if err := bad.Go(ctx, func(context.Context) error { panic("at once") }); err != nil {
			return err
		}
		if err := bad.Wait(ctx); err == nil {
			return errors.New("no error of a job that has panicked")
		}
		return nil
	}))
	if err != nil {
		t.Error(err)
	}
	var g jobsync.Group
	if err := g.Go(context.Background(), nil); !errors.Is(err, loop.ErrNotInJob) {
		t.Errorf("Go outside a job: %v", err)
	}
}

// A job that does not listen when it is cancelled is ended while it waits: it
// leaves the queue, and nothing stays locked.
func TestCanceledDoesNotListen(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})
	var m jobsync.Mutex
	m.TryLock()
	c := jobsync.NewChan[int](1)
	var g jobsync.Group
	waits := []func(ctx context.Context) error{
		m.Lock,
		func(ctx context.Context) error { _, err := c.Receive(ctx); return err },
		g.Wait,
	}
	waiting := make(chan bool, len(waits))
	ended := make(chan error, len(waits))
	err := testkit.Receive(t, looptest.Spawn(t, l, func(ctx context.Context) error {
		if err := g.Go(ctx, func(ctx context.Context) error { loop.Sleep(ctx, time.Hour); return nil }); err != nil {
			return err
		}
		for _, wait := range waits {
			if err := l.Go(func(ctx context.Context) error {
				defer func() { ended <- nil }()
				waiting <- true
				for wait(ctx) != nil {
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for range waits {
		<-waiting
	}
	l.Close()
	for range waits {
		testkit.Receive(t, ended)
	}
	m.Unlock() // to nobody
	if !m.TryLock() {
		t.Error("the lock has gone to a job that is no more")
	}
}

// A job that is cancelled while it waits leaves the queue.
func TestCanceled(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})
	var m jobsync.Mutex
	m.TryLock()
	waiting := make(chan bool, 1)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		waiting <- true
		return m.Lock(ctx)
	})
	<-waiting
	l.Close()
	if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("Lock: %v", err)
	}
	m.Unlock() // to nobody
	if !m.TryLock() {
		t.Error("the lock has gone to a job that is no more")
	}
}
