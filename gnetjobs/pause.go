package gnetjobs

import "net"

// Where possible, a peer is made to wait while its connection's job does not read,
// and while the peer does not take what is sent to it.

// maxUnread is how many bytes may wait for a job before its peer is made to wait.
const maxUnread = 256 << 10

// pauseReading stops gnet from reading from the connection. It reports whether that
// was possible.
func (c *conn) pauseReading() bool {
	h := c.host
	if !h.pauser.able() || c.phase >= phaseClosing { // the descriptor may belong to another by now
		return false
	}
	// When the peer of a Unix socket closes it, epoll reports that at once, and gnet
	// drops the bytes that have not been read.
	if _, ok := c.local.(*net.UnixAddr); ok {
		return false
	}
	if h.pauser.set(c, false) != nil {
		return false
	}
	c.paused = true
	return true
}

// resumeReading lets gnet read again.
func (c *conn) resumeReading() {
	if c.paused && c.phase < phaseEnding {
		c.paused = false
		c.host.pauser.set(c, true)
	}
}

// hold reports whether the handler gets no more input for now, because too much is
// waiting to be sent to the peer. If so, it makes sure that the handler gets more
// later.
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

// holdWater returns how many bytes gnet may keep before a handler gets no more
// input. It gets more when gnet keeps half of that. 0 means no limit.
func (h *host) holdWater() int { return h.handler.opts.MaxOutbound / 4 }
