package gnetjobs

import "net"

// A peer is made to wait where that can be done: while its connection's job
// does not read, and while it does not take what is sent to it.

// maxUnread is what may wait for a job before its peer has to.
const maxUnread = 256 << 10

// pauseReading has gnet read no more from the connection. It reports whether
// that can be done.
func (c *conn) pauseReading() bool {
	h := c.host
	if !h.pauser.able() || c.phase >= phaseClosing { // its descriptor may be another's
		return false
	}
	// When the peer of a Unix socket closes it, epoll reports that before what
	// has been sent is read, and gnet drops it.
	if _, ok := c.local.(*net.UnixAddr); ok {
		return false
	}
	if h.pauser.set(c, false) != nil {
		return false
	}
	c.paused = true
	return true
}

// resumeReading has gnet read again.
func (c *conn) resumeReading() {
	if c.paused && c.phase < phaseEnding {
		c.paused = false
		c.host.pauser.set(c, true)
	}
}

// hold reports whether the handler gets no more for now, because too much waits
// to be sent to the peer already, and sees to it that it will.
func (c *conn) hold() bool {
	limit := c.host.holdWater()
	if limit == 0 || c.lost || c.raw.OutboundBuffered() <= limit || !c.pauseReading() {
		c.held = false
		return false
	}
	c.held = true
	c.pollWrites()
	return true
}

// holdWater is what gnet may keep before a handler gets no more until it keeps
// half of that; 0 if it always gets more.
func (h *host) holdWater() int { return h.handler.opts.MaxOutbound / 4 }
