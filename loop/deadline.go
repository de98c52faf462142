package loop

import (
	"net"
	"os"
	"time"
)

// A connection has one timer for everything: the deadlines of both sides,
// parking, the handshake and closing.

// limit returns when a wait on side s that begins now has to end: at its
// deadline, or without a deadline after bound. 0 means never.
func (l *Loop) limit(s *side, bound time.Duration) int64 {
	if s.deadline == 0 && bound > 0 {
		return l.after(bound)
	}
	return s.deadline
}

// schedule makes the connection's timer expire at limit or earlier, unless limit
// is 0. Most limits are replaced by later ones before they pass. The timer is not
// moved then; expire schedules it again.
func (c *Conn) schedule(limit int64) {
	if limit != 0 && (c.timer.index == 0 || limit < c.timer.when) {
		c.l.setTimer(&c.timer, limit)
	}
}

// postpone is schedule for a long wait, during which a timer that was not moved
// could wake the loop for nothing. A timer that would expire in the first half of
// the wait is moved.
func (c *Conn) postpone(limit int64) {
	for _, other := range [...]int64{c.wr.limit, c.limit} { // another job may be writing
		if other != 0 && (limit == 0 || other < limit) {
			limit = other
		}
	}
	if limit != 0 && c.timer.index != 0 && c.timer.when-c.l.now < (limit-c.l.now)/2 {
		c.l.setTimer(&c.timer, limit)
		return
	}
	c.schedule(limit)
}

// expire acts on the limits that have passed, and schedules the rest.
func (c *Conn) expire(now int64) {
	if c.state.Load() >= connFlushing {
		if c.rd.limit > now {
			c.schedule(c.rd.limit)
		} else {
			c.closeNow()
		}
		return
	}
	switch {
	case c.limit == 0:
	case c.limit > now:
		c.schedule(c.limit)
	default:
		c.overdue()
	}
	for _, s := range [...]*side{&c.rd, &c.wr} {
		switch {
		case s.limit == 0 || c.fd < 0:
		case s.limit > now:
			c.schedule(s.limit)
		case s == &c.rd && c.state.Load() == connParked && !c.l.draining:
			c.unpark(os.ErrDeadlineExceeded)
		case s == &c.rd && c.state.Load() == connParked:
			c.endWait()
		default:
			s.wake()
		}
	}
}

// overdue ends a connection whose handshake has taken too long, whatever it
// waits for.
func (c *Conn) overdue() {
	c.limit = 0
	t := c.task
	switch {
	case t == nil: // for its first bytes
		c.notServed()
	case t.state == taskStarting: // for a job; start will free the task
		t.cancel, t.conn, c.task = true, nil, nil
		c.notServed()
	case t.waitsElsewhere(): // for a key engine
		t.cancelPaused()
	default: // for the peer; a hook may have set another deadline
		c.rd.deadline, c.wr.deadline = 1, 1 // in the past
		c.rd.wake()
		c.wr.wake()
	}
}

// SetDeadline sets the read and write deadlines, including those of waits in
// progress. The zero time means no deadline. Operations that have not finished by
// then return os.ErrDeadlineExceeded. Setting a deadline makes no system call and
// is cheap enough to do before each read.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is SetDeadline for reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.reason == os.ErrDeadlineExceeded && c.l.here() {
		c.reason = nil
	}
	return c.setDeadline(&c.rd, t, c.l.cfg.IdleTimeout)
}

// SetWriteDeadline is SetDeadline for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.wr, t, c.l.cfg.WriteTimeout)
}

func (c *Conn) setDeadline(s *side, t time.Time, bound time.Duration) error {
	if !c.l.here() {
		return c.opError("set", ErrNotInJob)
	}
	if c.state.Load() >= connClosing {
		return c.opError("set", net.ErrClosed)
	}
	s.deadline = c.l.at(t)
	if s.deadline != 0 && s.deadline < c.l.now+int64(time.Second) && s.deadline <= c.l.clock() {
		s.deadline = 1 // it has passed, even if l.now, the time of this turn, is before it
	}
	if s.waiters == nil && (s != &c.rd || c.state.Load() != connParked) {
		return nil
	}
	s.limit = c.l.limit(s, bound)
	if c.rests && c.l.draining {
		c.hurry()
		return nil
	}
	c.schedule(s.limit)
	return nil
}
