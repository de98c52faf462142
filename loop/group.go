package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Group is several loops, each on a thread of its own. It is made by NewGroup.
// A connection stays on the loop it was given to.
type Group struct {
	loops []*Loop
	ran   atomic.Bool // Run has been called
}

// NewGroup returns a group of n loops with the same configuration. It returns
// ErrInvalidConfig if n is less than 1; other errors are those of New.
func NewGroup(n int, cfg Config) (*Group, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: a group of %d loops", ErrInvalidConfig, n)
	}
	g := &Group{}
	for range n {
		l, err := New(cfg)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.loops = append(g.loops, l)
		l.census = g.loops[0].census
	}
	return g, nil
}

// Loops returns the group's loops. The slice must not be changed.
func (g *Group) Loops() []*Loop { return g.loops }

// Run runs the loops, each on a goroutine of its own, until all have ended. If
// one fails, the others are closed. If ctx ends, Run returns context.Cause(ctx);
// otherwise it returns the loops' errors, joined.
func (g *Group) Run(ctx context.Context) error {
	g.ran.Store(true)
	errs := make([]error, len(g.loops))
	var wg sync.WaitGroup
	for i, l := range g.loops {
		wg.Go(func() {
			if errs[i] = l.Run(ctx); errs[i] != nil {
				g.Close()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil { // every loop returned the same error
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// Close closes every loop, as Loop.Close does.
func (g *Group) Close() error {
	for _, l := range g.loops {
		l.Close()
	}
	return nil
}

// Shutdown shuts every loop down, as Loop.Shutdown does.
func (g *Group) Shutdown(ctx context.Context) error {
	logging := false // the caller is a log handler, for which nobody must wait
	for _, l := range g.loops {
		if l.onLoop() {
			return ErrOnLoop
		}
		logging = logging || l.logs.Queue().Inside()
	}
	errs := make([]error, len(g.loops))
	var wg sync.WaitGroup
	for i, l := range g.loops {
		wg.Go(func() {
			if g.ran.Load() { // a loop that does not run yet would be closed
				select {
				case <-l.began:
				case <-l.done:
				case <-ctx.Done():
				}
			}
			if logging {
				errs[i] = l.shutdown(ctx)
			} else {
				errs[i] = l.Shutdown(ctx)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Stats returns the sum of the loops' counts.
func (g *Group) Stats() Stats {
	var s Stats
	for _, l := range g.loops {
		s.Add(l.Stats())
	}
	return s
}

// GroupListener accepts connections for a group. It is made by Group.Listen,
// Group.Serve and ListenConfig.ListenGroup.
type GroupListener struct {
	listeners []*Listener
}

// Addr returns the address at which the listener accepts.
func (n *GroupListener) Addr() net.Addr { return n.listeners[0].Addr() }

// Close stops accepting, as Listener.Close does. When it returns, the sockets of all
// loops are closed.
func (n *GroupListener) Close() error {
	var first error
	for _, ln := range n.listeners {
		if err := ln.Close(); first == nil {
			first = err
		}
	}
	return first
}

// Serve accepts connections from a listener of package net, as Loop.Serve does.
// The first loop accepts each connection, and gives it to the loop that has the
// fewest jobs.
func (g *Group) Serve(ln net.Listener, h Handler) (*GroupListener, error) {
	return g.share(opened{ln: ln}, h)
}

// share makes the first loop accept for all.
func (g *Group) share(s opened, h Handler) (*GroupListener, error) {
	first := g.loops[0]
	deal := func() *Loop { return g.leastLoaded(first) }
	if len(g.loops) == 1 {
		deal = nil
	}
	a, err := first.adopt(s, h, deal)
	if err != nil {
		return nil, err
	}
	a.warnBacklog()
	return &GroupListener{[]*Listener{a}}, nil
}

// roomFor returns the loop that will serve the next connection l accepts: l
// itself, or if l is full another loop that has room. It returns nil if all are
// full. It is called on l's goroutine.
func (g *Group) roomFor(l *Loop) *Loop {
	if l.hasRoom() {
		return l
	}
	return g.leastLoaded(l)
}

// seemsToHaveRoom is hasRoom as seen from another loop's goroutine.
func (l *Loop) seemsToHaveRoom() bool {
	return !l.full.Load() && l.load.Load() < int64(l.cfg.MaxJobs) && l.dealt.Load() <= int64(l.cfg.AcceptsPerTurn) && !l.ShuttingDown()
}

// leastLoaded returns the loop with the fewest jobs, or nil if all are full.
// Equal loops take turns. It is called on the goroutine of accepts, the loop that
// accepts the connection.
func (g *Group) leastLoaded(accepts *Loop) *Loop {
	var best *Loop
	var least int64
	turn := int(accepts.counts.Accepted % uint64(len(g.loops)))
	for i := range g.loops {
		l := g.loops[(turn+i)%len(g.loops)]
		room := l.hasRoom
		if l != accepts {
			room = l.seemsToHaveRoom
		}
		if !room() {
			continue
		}
		if n := l.load.Load(); best == nil || n < least {
			best, least = l, n
		}
	}
	return best
}
