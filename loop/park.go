package loop

import "os"

// A parked connection is open and has no job. This file gives the job back, and
// starts another.

// SetReadNonblock chooses what a Read does that would have to wait: with true
// it returns ErrWouldBlock, with false, as at the start of each job, it pauses
// the job. A handler that waits for a new request reads like this, and parks
// the connection when it would have to wait.
func (c *Conn) SetReadNonblock(on bool) { c.nonblock = on }

// Park makes the connection stay open, without a job, when the handler
// returns. A job with h is started when there is something to read: bytes, the
// peer's end, or that the read deadline (without one, Config.IdleTimeout) has
// passed or the loop is shutting down, which Read then tells. It is called from
// inside the connection's own job, and always returns nil, for a handler to
// end with
//
//	return c.Park(h)
//
// After io.EOF, or when its deadline has passed and Read has told so, parking
// the connection again without setting a later one closes it.
//
// Data that a library has buffered above the connection does not count as
// something to read: read until ErrWouldBlock before parking. Without a read
// deadline, each time it is parked the idle timeout starts anew: set one if a
// peer that trickles bytes is not to stay.
func (c *Conn) Park(h Handler) error {
	c.parked = h
	return nil
}

// isParked reports whether the connection waits for a job. Between Park and
// the handler's return, it has one still.
func (c *Conn) isParked() bool { return c.parked != nil && c.task == nil }

// served is called when the connection's job has ended.
func (c *Conn) served() {
	c.task = nil
	c.nonblock = false
	h := c.parked
	// What a Read has told once would start one job after another: a connection
	// that has ended or is overdue, and is parked all the same, is closed.
	over := c.ended
	if c.failed == os.ErrDeadlineExceeded {
		over = over || c.rd.deadline != 0 && c.rd.deadline <= c.l.now
		c.failed = nil
	}
	switch {
	case h == nil || over || c.closed.Load() || c.l.stopping.Load() == stopNow || c.l.draining && c.failed != nil:
		c.closeNow()
	case c.l.draining:
		c.unpark(ErrShutdown)
	case c.rd.ready || c.failed != nil:
		c.unpark(nil)
	default:
		c.rd.limit = c.l.limit(&c.rd, c.l.cfg.IdleTimeout)
		c.postpone(c.rd.limit)
	}
}

// serve queues a job for the connection.
func (c *Conn) serve(h Handler) {
	t := c.l.newTask()
	t.conn, t.handler = c, h
	c.task = t
}

// unpark starts the job of a parked connection; reads will fail with err if it
// is not nil.
func (c *Conn) unpark(err error) {
	h := c.parked
	c.parked = nil
	c.rd.limit = 0
	if err != nil {
		c.failed = err
		c.rd.ready = true // what has arrived already is read before
	}
	c.serve(h)
}
