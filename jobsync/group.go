package jobsync

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// Group is a set of jobs of one loop, which a job of that loop waits for. The zero
// Group is ready to use. It must not be copied after first use.
type Group struct {
	mu    sync.Mutex // held for moments only
	alive int
	err   error
	queue queue
}

// errNoResult is of a job that has ended in a panic or in runtime.Goexit.
var errNoResult = errors.New("jobsync: a job of the group has ended without returning")

// Go starts fn as a job on the loop of the job that ctx carries: as a helper, see
// loop.Loop.Go, whose errors it returns. fn gets a context of its own, with what
// that loop's jobs have; it ends with ctx.
func (g *Group) Go(ctx context.Context, fn func(ctx context.Context) error) error {
	l, ok := loop.FromContext(ctx)
	if !ok {
		return loop.ErrNotInJob
	}
	g.mu.Lock()
	g.alive++
	g.mu.Unlock()
	err := l.Go(func(own context.Context) error {
		err := errNoResult
		defer func() { g.ended(err) }()
		if ctx.Done() != nil {
			own = ending{own, ctx}
		}
		err = fn(own)
		return err
	})
	if err != nil {
		g.ended(nil)
	}
	return err
}

// ending is a context that has the values of one and the end of another.
type ending struct {
	context.Context
	end context.Context
}

func (c ending) Deadline() (time.Time, bool)           { return c.end.Deadline() }
func (c ending) Done() <-chan struct{}                 { return c.end.Done() }
func (c ending) Err() error                            { return c.end.Err() }
func (c ending) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.end, f) } // see context.AfterFunc

// ended takes a job's result.
func (g *Group) ended(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	if g.alive--; g.alive > 0 {
		return
	}
	for w := g.queue.next(); w != nil; w = g.queue.next() {
		w.give()
	}
}

// Wait pauses the job until all jobs of the group have ended, and returns the
// first error that one of them returned. After an error of its own (ctx's, say)
// the jobs go on.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.alive > 0 {
		if err := wait(ctx, &g.mu, &g.queue, new(waiter)); err != nil {
			return err
		}
	}
	return g.err
}
