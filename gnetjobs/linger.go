package gnetjobs

// If a socket is closed while bytes from the peer are unread or still arriving,
// the kernel resets the connection and drops what it has not sent yet. The peer
// would lose the end of the answer. So the sending side is shut first. Until the
// peer has closed, which gnet notices, its bytes are discarded, up to a time and
// size limit. The handler has been told of the end before. Only gnet and the host
// still see the connection.

// lingerSize is the most bytes discarded from a lingering peer.
const lingerSize = 1 << 20

// mustLinger reports whether the peer could lose written data if the connection
// were closed at once.
func (c *conn) mustLinger() bool {
	h := c.host
	limit := h.handler.opts.MaxJobs
	switch {
	case !c.opened, c.written == 0: // nothing to lose
	case !c.graceful: // it has failed
	case c.ended: // the peer will send no more
	case h.handler.opts.LingerTimeout == 0, c.lingerSet.Load():
	case limit > 0 && h.lingering >= limit:
	default:
		return true
	}
	return false
}

// linger starts lingering, after the sending side has been shut.
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

// drop discards what a lingering peer has sent.
func (c *conn) drop() {
	c.dropped += uint32(c.raw.InboundBuffered()) // no more than gnet reads at once
	c.raw.Discard(-1)
	if c.dropped > lingerSize {
		c.closeRaw()
	}
}
