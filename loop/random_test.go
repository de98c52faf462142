package loop_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Many jobs that do anything, in any order, on one loop. What each of them sees
// is right, and nothing is left.
func TestRandom(t *testing.T) {
	const workers, steps = 200, 40
	l := looptest.New(t, loop.Config{Logger: silent(), MaxJobs: 5 * workers})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		if rand.IntN(10) == 0 {
			panic("at random")
		}
		if rand.IntN(2) == 0 {
			return echo(ctx, c)
		}
		_, err := io.Copy(c, c)
		return err
	}))
	var handles [workers]atomic.Value // of jobs.Job, to be woken by anybody
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all []<-chan error
	for i := range workers {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			handles[i].Store(j)
			for range steps {
				if err := randomStep(ctx, j, r, addr, handles[:]); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for i, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Errorf("job %d: %v", i, err)
		}
	}
}

func randomStep(ctx context.Context, j jobs.Job, r *rand.Rand, addr net.Addr, handles []atomic.Value) error {
	l, _ := loop.FromContext(ctx)
	switch r.IntN(7) {
	case 0:
		return loop.Sleep(ctx, time.Duration(r.IntN(1000))*time.Microsecond)
	case 1: // an engine, on another goroutine
		wake, err := takeCallback(j)
		if err != nil {
			return err
		}
		var done atomic.Bool
		go func() { done.Store(true); wake() }()
		return await(j, done.Load)
	case 2: // an engine that is polled
		n := r.IntN(3)
		return await(j, func() bool { n--; return n < 0 })
	case 3: // a connection, and whatever happens to it
		return randomVisit(ctx, r, addr)
	case 4: // somebody else's business
		if other, ok := handles[r.IntN(len(handles))].Load().(jobs.Job); ok {
			return l.Wake(other)
		}
		return nil
	case 5: // a timer of the loop's
		wake, err := takeCallback(j)
		if err != nil {
			return err
		}
		fired := false
		timer := l.AfterFunc(time.Duration(r.IntN(500))*time.Microsecond, func() { fired = true; wake() })
		if r.IntN(4) == 0 && timer.Stop() {
			wake() // who takes it calls it: or the job would not be polled later on
			return nil
		}
		return await(j, func() bool { return fired })
	default: // a job of its own
		fired := false
		if err := l.Go(func(context.Context) error { fired = true; return nil }); err != nil {
			return err
		}
		return await(j, func() bool { return fired })
	}
}

// randomVisit dials, and gets its bytes back unless the other end panics.
func randomVisit(ctx context.Context, r *rand.Rand, addr net.Addr) error {
	c, err := loop.Dial(ctx, addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if r.IntN(5) == 0 {
		c.SetLinger(0)
	}
	for range r.IntN(4) {
		b := make([]byte, 1+r.IntN(50_000))
		for i := range b {
			b[i] = byte(i)
		}
		if r.IntN(5) == 0 {
			c.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(200)) * time.Microsecond))
		}
		if _, err := c.Write(b); err != nil {
			return nil // the other end has panicked
		}
		got := make([]byte, len(b))
		n, err := io.ReadFull(c, got)
		for i := range got[:n] {
			if got[i] != byte(i) {
				return fmt.Errorf("byte %d of %d came back as %d", i, len(b), got[i])
			}
		}
		if err != nil { // too late, or it has panicked
			return nil
		}
	}
	return nil
}
