package load

import (
	"context"
	"net"

	"github.com/jobloop/jobloop/loop"
)

// This file parks clients that wait for their answers. They have no job, and so no stack:
// the loop starts one when bytes arrive, or when the time is up. conn is a loop.Handler.

// park parks the connection after its request.
func (c *conn) park() error {
	if err := c.Conn.Serve(c); err != nil {
		return c.v.failed(partRequest, err)
	}
	c.v.parked = true
	c.w.asked[c] = struct{}{}
	c.w.jobs++
	return nil
}

// Serve runs when the server has sent something, or the time is up.
func (c *conn) Serve(ctx context.Context, _ *loop.Conn) error {
	w, v := c.w, c.v
	c.woken = true
	err := c.complete()
	if err == loop.ErrWouldBlock { // it was a session ticket, or less than a record
		return c.Park(nil)
	}
	delete(w.asked, c)
	v.parked = false
	v.leave(c.Conn)
	defer w.jobEnded()
	err = w.count(v, err)
	if v.held != nil {
		w.hold(v.held)
		return v.held.Serve(ctx, c.Conn)
	}
	w.follow(err)
	return nil
}

// cutOff counts the clients that were parked when the run was stopped. The loop has ended
// without a call of theirs. A stage that has ended by itself has none.
func (w *worker) cutOff() {
	for c := range w.asked {
		w.count(c.v, c.v.failed(partRequest, net.ErrClosed))
	}
}

// follow starts what follows a visit that has ended in its connection's own job.
func (w *worker) follow(err error) {
	if w.stage.rate == 0 {
		pause := w.pauseAfter(err)
		w.start(func(ctx context.Context) { w.repeat(ctx, pause, false) })
	} else if due, ok := w.late(); ok {
		w.start(func(ctx context.Context) { w.arrivals(ctx, due) })
	}
}
