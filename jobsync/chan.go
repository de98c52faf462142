package jobsync

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrClosed is returned by Send on a closed Chan, and by Receive on a closed Chan
// that is empty.
var ErrClosed = errors.New("jobsync: channel is closed")

// Chan is a buffered channel between jobs. It is made by NewChan.
type Chan[T any] struct {
	mu        sync.Mutex // only held briefly
	values    []T
	size      int
	closed    bool
	senders   queue
	receivers queue
}

// NewChan returns a Chan that holds up to size values. It panics if size is less
// than 1.
func NewChan[T any](size int) *Chan[T] {
	if size < 1 {
		panic(fmt.Sprintf("jobsync: NewChan of size %d", size))
	}
	return &Chan[T]{size: size}
}

// Send puts v into the channel, and pauses the job while the channel is full. If it
// returns an error, v is not in the channel.
func (c *Chan[T]) Send(ctx context.Context, v T) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.closed {
			return ErrClosed
		}
		if len(c.values) < c.size {
			c.values = append(c.values, v)
			c.wakeOne(&c.receivers)
			return nil
		}
		if err := wait(ctx, &c.mu, &c.senders, new(waiter)); err != nil {
			return err
		}
	}
}

// Receive takes the oldest value from the channel, and pauses the job while
// there is none.
func (c *Chan[T]) Receive(ctx context.Context) (v T, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if len(c.values) > 0 {
			v = c.values[0]
			var zero T
			c.values[0] = zero
			if c.values = c.values[1:]; len(c.values) == 0 {
				c.values = nil
			}
			c.wakeOne(&c.senders)
			return v, nil
		}
		if c.closed {
			return v, ErrClosed
		}
		if err := wait(ctx, &c.mu, &c.receivers, new(waiter)); err != nil {
			return v, err
		}
	}
}

// Close closes the channel: Send then returns ErrClosed. Values in the channel can
// still be received. Any goroutine may call Close. A second call does nothing.
func (c *Chan[T]) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, q := range [...]*queue{&c.senders, &c.receivers} {
		for w := q.next(); w != nil; w = q.next() {
			w.give()
		}
	}
}

// wakeOne wakes the first waiter in q, so that it checks again.
func (c *Chan[T]) wakeOne(q *queue) {
	if w := q.next(); w != nil {
		w.give()
	}
}
