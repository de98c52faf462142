package testkit

import (
	"context"
	"sync"
)

// Expiring returns a context whose deadline passes when expire is called, and
// not when a busy machine has used up some time. It has the values of parent; the
// end of parent does not end it.
func Expiring(parent context.Context) (ctx context.Context, expire func()) {
	c := expiring{parent, make(chan struct{})}
	return c, sync.OnceFunc(func() { close(c.done) })
}

type expiring struct {
	context.Context
	done chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.done }

func (c expiring) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
