package loop

import (
	"errors"
	"io"
	"net"
	"os"
)

// A parked connection is open but has no job. This file gives its job back, and
// starts a new one when it is needed.

// Park keeps the connection open without a job after the handler returns. When
// there is something to read, a job with h is started; if h is nil, the running
// handler is used again. "Something to read" is bytes, the peer's end, or an error
// that Read will return: the read deadline or else Config.IdleTimeout has passed,
// or the loop is shutting down.
//
// Park must be called inside the connection's own job. It always returns nil, so
// that a handler can end with it:
//
//	for c.Readable() {
//		...
//	}
//	return c.Park(nil)
//
// In these cases, parking the connection closes it:
//
//   - Read has returned io.EOF.
//   - Read has returned os.ErrDeadlineExceeded, and no later deadline was set.
//   - The handler was called because there is something to read, and neither
//     called Read nor got false from Readable.
//
// Data that a library has buffered above the connection does not count as
// something to read: use it up first. The idle timeout starts again each time the
// connection is parked. To get rid of a peer that trickles bytes, set a read
// deadline.
func (c *Conn) Park(h Handler) error {
	if t := c.task; t != nil && h == nil {
		h = t.handler
	}
	c.next = h
	return nil
}

// Serve gives a connection that Dial has made to h. The connection is parked: a job with h
// is started when there is something to read, as described at Park. The job is then the
// connection's own.
//
// Serve must be called on the loop's goroutine. It returns an error if the peer has ended
// the connection and a Read has said so, if another job is inside Read or Write, or if the
// connection has a job of its own. The connection is then what it was.
func (c *Conn) Serve(h Handler) error {
	var err error
	switch {
	case h == nil:
		err = errors.New("nil Handler")
	case !c.l.here():
		err = ErrNotInJob
	case c.state.Load() != connOpen:
		err = net.ErrClosed
	case c.task != nil:
		err = errors.New("it has a job of its own, which can park it")
	case c.rd.busy > 0 || c.wr.busy > 0:
		err = ErrInUse
	case c.reason == io.EOF:
		err = io.EOF
	case c.reason == errGone:
		err = errnoEPIPE
	}
	if err != nil {
		return c.opError("serve", err)
	}
	c.next = h
	c.served()
	return nil
}

// served is called when the connection's job has ended.
func (c *Conn) served() {
	c.task = nil
	// A connection that has ended or is overdue would start one job after another.
	// So it is closed even if it was parked.
	over := c.reason == io.EOF || c.reason == errGone || c.tls != nil && c.tls.over
	if c.next != nil && c.unread && !over {
		c.l.warn("connection closed: its handler was called because there was something to read, but parked it without reading")
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
		c.ended() // in case it was being closed already
	case c.heard && c.l.draining:
		c.unpark(ErrShutdown)
	case c.reason != nil, c.readable():
		c.unpark(nil)
	default:
		c.rest()
	}
}

// rest starts the wait of a parked connection.
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
// client has not sent a request yet, but one may be on its way.
func (c *Conn) hurry() {
	if limit := c.l.after(drainLinger); c.rd.limit == 0 || limit < c.rd.limit {
		c.rd.limit = limit
	}
	c.schedule(c.rd.limit)
}

// Readable reports whether a Read would return at once, with bytes, the peer's
// end, or an error. If not, a handler can park the connection instead of waiting
// in its job.
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
		return false // the timer will end the wait
	}
	return c.tls.fill()
}

// unpark queues a job for a parked connection. If err is not nil, reads will fail
// with it once the bytes that have arrived are used up.
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
		c.rd.ready = true // bytes that have arrived are read first
	}
	c.serve(h)
}
