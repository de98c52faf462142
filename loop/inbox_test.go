package loop_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

func TestGoBeforeRun(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := make(chan bool, 1)
	if err := l.Go(func(ctx context.Context) error {
		if got, ok := loop.FromContext(ctx); got != l || !ok {
			t.Errorf("FromContext = %p, %t, want %p", got, ok, l)
		}
		if j, ok := jobs.FromContext(ctx); !ok || j != l.Current() {
			t.Error("the context's job is not the current one")
		}
		ran <- true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	looptest.Start(t, l)
	testkit.Receive(t, ran)
}

func TestFromContextOutside(t *testing.T) {
	if l, ok := loop.FromContext(context.Background()); l != nil || ok {
		t.Errorf("FromContext = %p, %t", l, ok)
	}
}

func TestGoHasValuesOfRunContext(t *testing.T) {
	type key struct{}
	l := looptest.NewIdle(t, loop.Config{})
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "v"))
	defer cancel()
	got := make(chan string, 1)
	if err := l.Go(func(ctx context.Context) error {
		if ctx.Done() != nil {
			t.Error("a job's context can be done")
		}
		got <- ctx.Value(key{}).(string)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	if v := testkit.Receive(t, got); v != "v" {
		t.Errorf("the context's value is %q", v)
	}
	cancel()
	if err := testkit.Receive(t, ran); err != context.Canceled {
		t.Errorf("Run: %v, want %v", err, context.Canceled)
	}
}

func TestGoFromManyGoroutines(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const callers, each = 10, 1000
	var n atomic.Int64
	all := make(chan bool)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if err := l.Go(func(context.Context) error {
					if n.Add(1) == callers*each {
						close(all)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	testkit.Receive(t, all)
	if s := looptest.Settle(t, l); s.JobsStarted != callers*each || s.JobsFinished != callers*each {
		t.Errorf("%+v, want %d jobs", s, callers*each)
	}
}

func TestPostOrder(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	const n = 1000
	var got []int
	post := func(i int) {
		if err := l.Post(func() { got = append(got, i) }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n / 2 {
		post(i)
	}
	looptest.Start(t, l)
	for i := range n / 2 {
		post(n/2 + i)
	}
	looptest.Call(t, l, func() {
		for i, v := range got {
			if i != v {
				t.Fatalf("call %d came as number %d", v, i)
			}
		}
		if len(got) != n {
			t.Errorf("%d calls, want %d", len(got), n)
		}
	})
}

func TestPostInsideJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	posted := make(chan bool)
	looptest.Must(t, l, func(ctx context.Context) error {
		return l.Post(func() {
			if l.Current() != (jobs.Job{}) {
				t.Error("a posted function has a current job")
			}
			close(posted)
		})
	})
	testkit.Receive(t, posted)
}

func TestPostPanics(t *testing.T) {
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	if err := l.Post(func() { panic("in a call") }); err != nil {
		t.Fatal(err)
	}
	looptest.Call(t, l, func() {})
	wantOneLine(t, l, &out, "level=ERROR", "in a call", "TestPostPanics")
}

func TestNilFunctions(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	if err := l.Go(nil); !errors.Is(err, jobs.ErrNoFunc) {
		t.Errorf("Go(nil): %v", err)
	}
	if err := l.Post(nil); !errors.Is(err, jobs.ErrNoFunc) {
		t.Errorf("Post(nil): %v", err)
	}
}

func TestQueueFull(t *testing.T) {
	const limit = 3
	l := looptest.NewIdle(t, loop.Config{MaxQueued: limit})
	calls := []func() error{
		func() error { return l.Go(func(context.Context) error { return nil }) },
		func() error { return l.Post(func() {}) },
		func() error { return l.Post(func() {}) },
	}
	for _, call := range calls {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	for i, call := range calls {
		if err := call(); !errors.Is(err, loop.ErrQueueFull) {
			t.Errorf("call %d: %v, want %v", i, err, loop.ErrQueueFull)
		}
	}
	if err := l.Wake(jobs.Job{}); err != nil {
		t.Errorf("Wake, with a full queue: %v", err)
	}
	// There is room again as soon as the loop has taken them up.
	sync := make(chan bool)
	start := func() error { return l.Post(func() { close(sync) }) }
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	testkit.Eventually(t, "there is room", func() bool { return start() == nil })
	testkit.Receive(t, sync)
	for range 10 * limit {
		looptest.Call(t, l, func() {})
	}
	looptest.ShutDown(t, l)
	if err := testkit.Receive(t, ran); err != nil {
		t.Error(err)
	}
}

// A job that has to wait for room in the pool counts against MaxQueued; one
// that has started does not.
func TestQueueFullOfJobs(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 1, MaxQueued: 2})
	var all []<-chan error
	job := func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		return await(j, never)
	}
	all = append(all, looptest.Spawn(t, l, job))
	testkit.Eventually(t, "the pool is full", func() bool { return l.Stats().JobsPaused == 1 })
	all = append(all, looptest.Spawn(t, l, job), looptest.Spawn(t, l, job))
	if err := l.Go(job); !errors.Is(err, loop.ErrQueueFull) {
		t.Errorf("Go: %v, want %v", err, loop.ErrQueueFull)
	}
	testkit.Eventually(t, "two jobs queue", func() bool { return l.Stats().JobsQueued == 2 })
	if err := l.Post(func() {}); !errors.Is(err, loop.ErrQueueFull) {
		t.Errorf("Post: %v, want %v", err, loop.ErrQueueFull)
	}
	l.Close()
	testkit.Receive(t, all[0])
}

// Jobs that have to wait for room are no reason to stay awake.
func TestQueuedJobsCostNothing(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 1})
	wakes := make(chan callback, 1)
	finish := false
	first := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		wake, err := takeCallback(j)
		if err != nil {
			return err
		}
		wakes <- wake
		return await(j, func() bool { return finish })
	})
	second := looptest.Spawn(t, l, func(context.Context) error { return nil })
	wake := testkit.Receive(t, wakes)
	testkit.Eventually(t, "a job queues", func() bool { return l.Stats().JobsQueued == 1 })
	wantFewTurns(t, l)
	looptest.Call(t, l, func() { finish = true })
	wake()
	for _, done := range []<-chan error{first, second} {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

func TestCallsAfterTheEnd(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	var j jobs.Job
	var late callback
	looptest.Must(t, l, func(ctx context.Context) (err error) {
		j, _ = jobs.FromContext(ctx)
		late, err = takeCallback(j)
		return err
	})
	looptest.ShutDown(t, l)
	if err := testkit.Receive(t, ran); err != nil {
		t.Error(err)
	}
	_, listenErr := l.Listen("tcp", "127.0.0.1:0", echo)
	for name, err := range map[string]error{
		"Go":     l.Go(func(context.Context) error { return nil }),
		"Post":   l.Post(func() {}),
		"Wake":   l.Wake(j),
		"Listen": listenErr,
		"Run":    l.Run(context.Background()),
	} {
		if !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s: %v, want %v", name, err, loop.ErrClosed)
		}
	}
	late()
}

func TestWake(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const n = 100
	var handle jobs.Job
	turn := 0
	paused := make(chan bool, 1)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		handle = j
		if _, err := takeCallback(j); err != nil { // it need not be polled
			return err
		}
		for i := range n {
			paused <- true
			if err := await(j, func() bool { return turn > i }); err != nil {
				return err
			}
		}
		return nil
	})
	for range n {
		testkit.Receive(t, paused)
		looptest.Call(t, l, func() { turn++ })
		if err := l.Wake(handle); err != nil {
			t.Fatal(err)
		}
	}
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if err := l.Wake(handle); err != nil {
		t.Errorf("Wake of a job that has ended: %v", err)
	}
}

// An engine on other goroutines, for many jobs at a time.
func TestCallback(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const jobsAtATime, rounds = 20, 50
	var all []<-chan error
	for range jobsAtATime {
		all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			for range rounds {
				wake, err := takeCallback(j)
				if err != nil {
					return err
				}
				var done atomic.Bool
				go func() { // which may be before the pause, or after it
					done.Store(true)
					wake()
				}()
				if err := await(j, done.Load); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

// An engine that is done at once calls back from inside the job.
func TestCallbackBeforePause(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		for range 100 {
			wake, err := takeCallback(j)
			if err != nil {
				return err
			}
			wake()
			wake()
			if err := j.Pause(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Wakes that mean nothing disturb no wait, of whatever kind.
func TestSpuriousWakes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	var handle jobs.Job
	started := make(chan bool)
	finish := false
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		handle, _ = jobs.FromContext(ctx)
		close(started)
		if err := readAll(c, "x"); err != nil {
			return fmt.Errorf("Read: %w", err)
		}
		until := time.Now().Add(10 * time.Millisecond)
		if err := loop.Sleep(ctx, time.Until(until)); err != nil || time.Now().Before(until) {
			return fmt.Errorf("Sleep ended early: %w", err)
		}
		if _, err := c.Write(make([]byte, 16<<20)); err != nil {
			return fmt.Errorf("Write: %w", err)
		}
		return await(handle, func() bool { return finish })
	})
	testkit.Receive(t, started)
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Wake(handle)
			}
		}
	})
	looptest.Settle(t, l)
	send(t, c, "x")
	expectZeros(t, c, 16<<20)
	looptest.Call(t, l, func() { finish = true })
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
}
