package loop

import (
	"io"
	"os"
)

// A parked connection is open and has no job. This file gives the job back, and
// starts another.

// Park makes the connection stay open, without a job, when the handler
// returns. A job with h (nil for the handler that is running) is started when
// there is something to read: bytes, the peer's end, or that the read deadline
// (without one, Config.IdleTimeout) has passed or the loop is shutting down,
// which Read then tells. It is called from inside the connection's own job, and
// always returns nil, for a handler to do what there is to do and end with it:
//
//	for c.Readable() {
//		...
//	}
//	return c.Park(nil)
//
// After io.EOF, or when its deadline has passed and Read has told so, parking
// the connection again without setting a later one closes it. So does parking it
// without a Read, or a Readable that says no, when the handler was called because
// there is something to read.
//
// Data that a library has buffered above the connection does not count as
// something to read: use it up first. Without a read deadline, each time the
// connection is parked the idle timeout starts anew: set one if a peer that
// trickles bytes is not to stay.
func (c *Conn) Park(h Handler) error {
	if t := c.task; t != nil && h == nil {
		h = t.handler
	}
	c.next = h
	return nil
}

// served is called when the connection's job has ended.
func (c *Conn) served() {
	c.task = nil
	// What a Read has told once would start one job after another: a connection
	// that has ended or is overdue, and is parked all the same, is closed.
	over := c.reason == io.EOF || c.reason == errGone || c.tls != nil && c.tls.over
	if c.next != nil && c.unread && !over {
		c.l.warn("connection closed: its handler was called because there is something to read, and parked it without a Read")
		over = true
	}
	shuttingDown := c.reason == ErrShutdown
	c.known = true
	if c.reason == os.ErrDeadlineExceeded {
		over = over || c.rd.deadline != 0 && c.rd.deadline <= c.l.now
		c.reason = nil
	}
	switch {
	case c.next == nil || over || c.l.stopping.Load() == stopNow || shuttingDown,
		!c.state.CompareAndSwap(connOpen, connParked):
		c.shut()
		c.ended() // if it was being closed before
	case c.heard && c.l.draining:
		c.unpark(ErrShutdown)
	case c.reason != nil, c.readable():
		c.unpark(nil)
	default:
		c.rest()
	}
}

// rest begins the wait of a parked connection.
func (c *Conn) rest() {
	l := c.l
	c.rests, c.reserves = true, !c.isNew()
	l.parked++
	if c.reserves {
		l.resting++
	}
	c.rd.limit = l.limit(&c.rd, l.cfg.IdleTimeout)
	if l.draining {
		c.hurry()
		return
	}
	c.postpone(c.rd.limit)
}

// rise ends the wait of a parked connection.
func (c *Conn) rise() {
	if !c.rests {
		return
	}
	c.rests = false
	c.l.parked--
	if c.reserves {
		c.l.resting--
	}
}

// hurry bounds the wait of a parked connection while the loop shuts down. Its
// client has not been heard of, and may have sent something by now.
func (c *Conn) hurry() {
	if limit := c.l.after(drainLinger); c.rd.limit == 0 || limit < c.rd.limit {
		c.rd.limit = limit
	}
	c.schedule(c.rd.limit)
}

// Readable reports whether a Read would return at once: with bytes, the peer's
// end, or an error. A handler that has nothing to read may park the connection
// instead of waiting in a job.
func (c *Conn) Readable() bool {
	switch {
	case c.usable(&c.rd) != nil:
		return true
	case c.rd.ready && sysPeek(c.fd):
		return true
	}
	c.rd.ready = false
	c.unread = false
	return c.reason == os.ErrDeadlineExceeded || c.reason == ErrShutdown
}

// readable reports whether a parked connection has something to read for its
// handler.
func (c *Conn) readable() bool {
	if c.tls == nil || c.tls.handshake != handshakeDone {
		return c.rd.ready
	}
	if c.rd.deadline != 0 && c.rd.deadline <= c.l.now {
		return false // its timer will tell
	}
	return c.tls.fill()
}

// unpark starts the job of a parked connection; reads will fail with err if it
// is not nil.
func (c *Conn) unpark(err error) {
	if !c.state.CompareAndSwap(connParked, connOpen) {
		return // it is being closed
	}
	c.rise()
	h := c.next
	c.next = nil
	c.unread = err == nil || c.gone()
	c.rd.limit = 0
	if err != nil && !c.gone() {
		c.reason = err
		c.rd.ready = true // what has arrived already is read before
	}
	c.serve(h)
}
