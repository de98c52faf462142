package gnetjobs

// The kernel resets a connection that is closed while bytes of the peer's are
// unread, or still come, and drops what it has not sent yet: the peer would lose
// the end of the answer. So the sending side is shut first. Until the peer has
// closed, which gnet sees, what it still sends is dropped, for a bounded time and
// amount. By then the handler has been told, and to everybody but gnet and the
// host the connection is closed.

// lingerSize is the most bytes that are taken from a peer meanwhile.
const lingerSize = 1 << 20

// mustLinger reports whether closing the connection at once could cost the peer
// something that was written.
func (c *conn) mustLinger() bool {
	h := c.host
	limit := h.handler.opts.MaxJobs
	switch {
	case !c.opened, c.written == 0: // there is nothing to lose
	case !c.graceful: // it has failed
	case c.ended: // the peer sends no more
	case h.handler.opts.LingerTimeout == 0, c.lingerSet.Load():
	case limit > 0 && h.lingering >= limit:
	default:
		return true
	}
	return false
}

// linger is called when the sending side has been shut.
func (c *conn) linger() {
	h := c.host
	c.resumeReading()
	c.raw.Discard(-1)
	c.phase = phaseLingering
	h.lingering++
	c.unschedule()
	c.timeout = timeout{stall: h.now() + int64(h.handler.opts.LingerTimeout)}
	c.schedule(c.timeout.stall)
	c.over()
}

// drop takes what the peer has sent meanwhile.
func (c *conn) drop() {
	c.dropped += uint32(c.raw.InboundBuffered()) // no more than gnet reads at once
	c.raw.Discard(-1)
	if c.dropped > lingerSize {
		c.closeRaw()
	}
}
