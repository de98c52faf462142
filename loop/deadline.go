package loop

import (
	"net"
	"os"
	"time"
)

// A connection has one timer, for the deadlines of both its sides, for being
// parked, for its handshake and for its end.

// limit is when a wait on side s that begins now has to end: at its deadline,
// or if it has none when bound has passed; 0 for never.
func (l *Loop) limit(s *side, bound time.Duration) int64 {
	if s.deadline == 0 && bound > 0 {
		return l.after(bound)
	}
	return s.deadline
}

// schedule makes the connection's timer expire at limit, if that is not 0, or
// earlier. Most limits are replaced by later ones before they pass: then the
// timer stays where it is, and finds out when it expires.
func (c *Conn) schedule(limit int64) {
	if limit != 0 && (c.timer.index == 0 || limit < c.timer.when) {
		c.l.setTimer(&c.timer, limit)
	}
}

// postpone is schedule for a long wait, in which a timer left where it is could
// wake the loop for nothing: one that would expire in the first half is moved.
func (c *Conn) postpone(limit int64) {
	for _, other := range [...]int64{c.wr.limit, c.limit} { // another job writes, say
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

// expire wakes who has waited long enough.
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

// overdue ends a connection whose handshake has taken too long, wherever that
// is.
func (c *Conn) overdue() {
	c.limit = 0
	t := c.task
	switch {
	case t == nil: // it waits for its first bytes
		c.notServed()
	case t.state == taskStarting: // and for a job, whose task start will free
		t.cancel, t.conn, c.task = true, nil, nil
		c.notServed()
	case t.waitsElsewhere(): // for a key engine
		t.cancelPaused()
	default: // for the peer; a hook may have set another deadline
		c.rd.deadline, c.wr.deadline = 1, 1 // which has passed
		c.rd.wake()
		c.wr.wake()
	}
}

// SetDeadline sets the read and write deadlines, also for waits in progress;
// the zero time means none. Operations that have not ended by then end with
// os.ErrDeadlineExceeded. Setting a deadline makes no system call and is cheap
// enough to do before each read.
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
		s.deadline = 1 // it has passed, though the loop's time of this turn may not tell
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
