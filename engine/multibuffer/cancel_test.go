package multibuffer

import (
	"context"
	"crypto"
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// client connects to a server on l, which runs fn in the connection's job; its
// error comes from the channel.
func client(t *testing.T, l *loop.Loop, fn func(ctx context.Context) error) (*net.TCPConn, <-chan error) {
	t.Helper()
	done := make(chan error, 1)
	ln, err := l.Listen("tcp", "127.0.0.1:0", loop.HandlerFunc(func(ctx context.Context, _ *loop.Conn) error {
		err := looptest.ErrLeft
		defer func() { done <- err }()
		err = fn(ctx)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), done
}

// wantWaiting waits until n requests are in e's queues on l.
func wantWaiting(t *testing.T, e *Engine, l *loop.Loop, n int) {
	t.Helper()
	testkit.Eventually(t, "the requests wait", func() (ok bool) {
		looptest.Call(t, l, func() {
			b, there := l.Local(e).(*batcher)
			ok = there && b.waiting == n
		})
		return ok
	})
}

// The client of one of three requests resets its connection while they wait.
func TestClientVanishesWhileItsRequestWaits(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		for victim := range 3 { // first, middle and last in the queue
			e := newEngine(t, cfg)
			l := looptest.New(t, loop.Config{})
			k := newKey(t, e, "2048a")
			stop := keepBusy(t, l)
			var conns [3]*net.TCPConn
			var done [3]<-chan error
			for i := range conns {
				conns[i], done[i] = client(t, l, func(ctx context.Context) error { return signs(ctx, k) })
				wantWaiting(t, e, l, i+1)
			}
			testkit.Reset(conns[victim])
			if err := testkit.Receive(t, done[victim]); !errors.Is(err, jobs.ErrCanceled) {
				t.Errorf("Sign: %v, want jobs.ErrCanceled", err)
			}
			wantWaiting(t, e, l, 2)
			stop()
			for i := range conns {
				if i == victim {
					continue
				}
				if err := testkit.Receive(t, done[i]); err != nil {
					t.Error(err)
				}
			}
			wantSizes(t, e, map[int]uint64{2: 1})
			if s := e.Stats(); s.Canceled != 1 {
				t.Errorf("%+v, want 1 canceled", s)
			}
			wantIdle(t, e, l)
		}
	})
}

// gate makes the worker's computations wait: each sends on began, and then
// goes on when something is received from release.
type gate struct {
	began   chan int
	release chan bool
}

func newGate(e *Engine) *gate {
	g := &gate{make(chan int, 10), make(chan bool)}
	e.do = func(u *rsax8.Unit, reqs []*rsax8.Request) {
		g.began <- len(reqs)
		<-g.release
		u.Do(reqs)
	}
	return g
}

// A client vanishes while a worker computes for it. The result is dropped, and
// the request's memory is not used for another before.
func TestClientVanishesWhileAWorkerComputes(t *testing.T) {
	e := newEngine(t, Config{Worker: true})
	g := newGate(e)
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	c, first := client(t, l, func(ctx context.Context) error { return signs(ctx, k) })
	if n := testkit.Receive(t, g.began); n != 1 {
		t.Fatalf("a batch of %d, want 1", n)
	}
	testkit.Reset(c)
	if err := testkit.Receive(t, first); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("Sign: %v, want jobs.ErrCanceled", err)
	}
	var of *request
	looptest.Call(t, l, func() {
		b := batcherIn(e, l)
		of = b.batch.reqs[0]
		if !of.abandoned || b.free.n != 0 {
			t.Errorf("abandoned is %t, %d free requests; want true, 0", of.abandoned, b.free.n)
		}
	})
	// The next request is gathered while the batch is being computed.
	second := looptest.Spawn(t, l, func(ctx context.Context) error { return signs(ctx, k) })
	wantWaiting(t, e, l, 1)
	looptest.Call(t, l, func() {
		if b := batcherIn(e, l); b.queues[0].head == of {
			t.Error("the worker's request has been given to another job")
		}
	})
	g.release <- true
	testkit.Receive(t, g.began)
	g.release <- true
	if err := testkit.Receive(t, second); err != nil {
		t.Error(err)
	}
	wantSizes(t, e, map[int]uint64{1: 2})
	if s := e.Stats(); s.Canceled != 1 {
		t.Errorf("%+v, want 1 canceled", s)
	}
	wantIdle(t, e, l)
	looptest.Call(t, l, func() {
		if b := batcherIn(e, l); b.free.n != 2 {
			t.Errorf("%d free requests, want both", b.free.n)
		}
	})
}

// A cancelled job that goes on signing gets nothing, and leaves nothing: also
// when Pause has had enough, and ends it by Goexit.
func TestCanceledJobGoesOnSigning(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	stop := keepBusy(t, l)
	signed := 0
	c, done := client(t, l, func(ctx context.Context) error {
		for {
			if err := signs(ctx, k); err == nil {
				signed++
			}
		}
	})
	wantWaiting(t, e, l, 1)
	testkit.Reset(c)
	if err := testkit.Receive(t, done); err != looptest.ErrLeft {
		t.Errorf("the job returned %v", err)
	}
	stop()
	looptest.Settle(t, l)
	if s := e.Stats(); s.Canceled < 1000 || signed != 0 || s.Batches+s.Direct+s.Alone != 0 {
		t.Errorf("%d signatures, %+v", signed, s)
	}
	wantIdle(t, e, l)
}

// A loop is closed while requests wait.
func TestLoopClosedWhileRequestsWait(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		keepBusy(t, l)
		all := together(t, l, 3, func(ctx context.Context, _ int) error { return signs(ctx, k) })
		wantWaiting(t, e, l, 3)
		l.Close()
		for _, done := range all {
			if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
				t.Errorf("Sign: %v, want jobs.ErrCanceled", err)
			}
		}
		if s := e.Stats(); s.Canceled != 3 || s.Batches != 0 {
			t.Errorf("%+v, want 3 canceled", s)
		}
	})
}

// A loop is closed while a worker computes: the worker ends when it has done,
// and what it has done is for nobody.
func TestLoopClosedWhileAWorkerComputes(t *testing.T) {
	e := newEngine(t, Config{Worker: true})
	g := newGate(e)
	l := looptest.New(t, loop.Config{}) // proves that the worker ends too
	k := newKey(t, e, "2048a")
	all := together(t, l, 9, func(ctx context.Context, _ int) error { return signs(ctx, k) })
	if n := testkit.Receive(t, g.began); n != 8 {
		t.Fatalf("a batch of %d, want 8", n)
	}
	l.Close()
	for _, done := range all {
		if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
			t.Errorf("Sign: %v, want jobs.ErrCanceled", err)
		}
	}
	if err := l.Shutdown(context.Background()); err != nil { // it has ended
		t.Error(err)
	}
	g.release <- true
	if s := e.Stats(); s.Canceled != 9 || s.Batches != 0 {
		t.Errorf("%+v, want 9 canceled", s)
	}
}

// The memory of a loop's batcher goes with the loop.
func TestBatcherGoesWithItsLoop(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	gone := make(chan bool)
	func() {
		l, err := loop.New(loop.Config{})
		if err != nil {
			t.Skip(err)
		}
		ran := make(chan error, 1)
		go func() { ran <- l.Run(context.Background()) }()
		looptest.Must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		looptest.Call(t, l, func() { runtime.AddCleanup(batcherIn(e, l), func(bool) { close(gone) }, true) })
		l.Close()
		if err := testkit.Receive(t, ran); err != nil {
			t.Fatal(err)
		}
	}()
	testkit.Eventually(t, "the batcher is collected", func() bool {
		runtime.GC()
		select {
		case <-gone:
			return true
		default:
			return false
		}
	})
	runtime.KeepAlive(e)
}

// A worker's batch comes back even if the loop takes no more calls, and may not
// before the batch's jobs have ended.
func TestWorkerWithFullQueue(t *testing.T) {
	e := newEngine(t, Config{Worker: true})
	g := newGate(e)
	l := looptest.New(t, loop.Config{MaxJobs: 1, MaxQueued: 1})
	k := newKey(t, e, "2048a")
	first := looptest.Spawn(t, l, func(ctx context.Context) error { return signs(ctx, k) })
	testkit.Receive(t, g.began)
	second := looptest.Spawn(t, l, func(ctx context.Context) error { // there is no room for it
		_, err := k.ForContext(ctx).Sign(nil, digest, crypto.SHA256)
		return err
	})
	if err := l.Post(func() {}); !errors.Is(err, loop.ErrQueueFull) {
		t.Fatalf("Post: %v, want loop.ErrQueueFull", err)
	}
	g.release <- true
	if err := testkit.Receive(t, first); err != nil {
		t.Error(err)
	}
	testkit.Receive(t, g.began)
	g.release <- true
	if err := testkit.Receive(t, second); err != nil {
		t.Error(err)
	}
	wantSizes(t, e, map[int]uint64{1: 2})
}

// While a worker computes, the loop serves its other jobs and gathers; the next
// batch begins when the worker is free.
func TestWorkerLeavesTheLoopFree(t *testing.T) {
	e := newEngine(t, Config{Worker: true})
	g := newGate(e)
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	first := together(t, l, 1, func(ctx context.Context, _ int) error {
		err := signs(ctx, k)
		if n := len(batcherIn(e, l).batch.reqs); n != 8 {
			t.Errorf("the worker has %d requests while the job goes on, want 8", n)
		}
		return err
	})
	if n := testkit.Receive(t, g.began); n != 1 {
		t.Errorf("a batch of %d, want 1", n)
	}
	next := together(t, l, 19, func(ctx context.Context, _ int) error { return signs(ctx, k) })
	wantWaiting(t, e, l, 19)
	looptest.Settle(t, l)
	for _, want := range []int{8, 8, 3} {
		select {
		case n := <-g.began:
			t.Fatalf("a batch of %d while another is being computed", n)
		default:
		}
		g.release <- true
		if n := testkit.Receive(t, g.began); n != want {
			t.Errorf("a batch of %d, want %d", n, want)
		}
	}
	g.release <- true
	mustAll(t, append(first, next...))
	wantSizes(t, e, map[int]uint64{1: 1, 8: 2, 3: 1})
	wantIdle(t, e, l)
}
