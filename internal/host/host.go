// Package host is where the context of a job says which event loop the job runs
// on. It is below package loop, which says it, and package engine, which asks: so
// neither imports the other.
package host

import "context"

type key struct{}

// With returns a context that carries an event loop: a *loop.Loop, or any
// engine.Host.
func With(parent context.Context, loop any) context.Context {
	return context.WithValue(parent, key{}, loop)
}

// From returns the event loop that ctx carries, or nil.
func From(ctx context.Context) any { return ctx.Value(key{}) }
