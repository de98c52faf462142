package jobsync

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// Group is a set of jobs of one loop, for which another job of that loop waits.
// The zero Group is ready to use. A Group must not be copied after first use.
type Group struct {
	mu    sync.Mutex // only held briefly
	alive int
	err   error
	queue queue
}

// errNoResult is the result of a job that ended by a panic or runtime.Goexit.
var errNoResult = errors.New("jobsync: a job of the group has ended without returning")

// Go starts fn as a job on the loop of the job that ctx carries. It should be called
// inside that job; fn is then a helper. See loop.Loop.Go, whose errors Go returns.
// fn gets a context of its own, as every job of the loop does, but that context ends
// when ctx ends.
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

// ending is a context with the values of one context and the end of another.
type ending struct {
	context.Context
	end context.Context
}

func (c ending) Deadline() (time.Time, bool)           { return c.end.Deadline() }
func (c ending) Done() <-chan struct{}                 { return c.end.Done() }
func (c ending) Err() error                            { return c.end.Err() }
func (c ending) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.end, f) } // see context.AfterFunc

// ended records a job's result.
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

// Wait pauses the job until all jobs of the group have ended, and returns the first
// error of any of them. Wait may also end early with an error of its own, such as
// that of ctx. The jobs of the group then continue.
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
