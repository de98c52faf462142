package loop

import (
	"io"
	"net"
	"time"
)

// How a connection ends. If a socket is closed while bytes from the peer are
// unread or still arriving, the kernel resets the connection and drops what it
// has not sent yet. The peer would lose the end of the answer. So the loop first
// shuts the sending side, then discards what still arrives, up to a time and size
// limit, and closes the socket when the peer has closed. This is called
// lingering. It needs no job.

const (
	// lingerSize is the most bytes discarded from a lingering peer.
	lingerSize = 1 << 20
	// drainLinger bounds lingering while the loop shuts down. It also bounds how
	// long a client that has connected may then take to send its first request.
	drainLinger = 500 * time.Millisecond
	// minLingering is how many connections may linger at a time if Config.MaxJobs
	// is less.
	minLingering = 1024
	// maxFlush bounds the sending of the remaining output if Config.WriteTimeout
	// is negative.
	maxFlush = 30 * time.Second
)

// Close closes the connection. Reads and writes in progress return
// net.ErrClosed. Data already written is still sent: if the peer has not closed
// its side yet, the loop lets the connection linger for up to
// Config.LingerTimeout. Close does not wait, and may be called from any
// goroutine. A second call returns net.ErrClosed.
func (c *Conn) Close() error { return c.close(connCutting) }

// close asks the loop to close the connection. state is connClosing or
// connCutting.
func (c *Conn) close(state connState) error {
	for {
		s := c.state.Load()
		if s >= connClosing {
			return c.opError("close", net.ErrClosed)
		}
		if c.state.CompareAndSwap(s, state) {
			break
		}
	}
	c.l.send(message{conn: c}) // a loop that has ended has closed the connection
	return nil
}

// shut begins to close the connection, on the loop's goroutine.
func (c *Conn) shut() {
	l := c.l
	switch s := c.state.Load(); {
	case s >= connFlushing:
		return
	case s == connCutting:
		c.silent = true
	}
	c.rise()
	if c.tls != nil {
		c.tls.sayGoodbye()
	}
	if !c.mustLinger() {
		c.closeNow()
		return
	}
	c.state.Store(connFlushing)
	c.rd.wake()
	c.wr.wake()
	c.ended()
	l.conns--
	l.lingering++
	c.closeAfter(l.cfg.WriteTimeout)
	c.flush()
}

// mustLinger reports whether the peer could lose written data if the connection
// were closed at once.
func (c *Conn) mustLinger() bool {
	l := c.l
	switch {
	case c.abort, c.gone(), l.cfg.LingerTimeout < 0, l.stopping.Load() == stopNow, l.lingering >= max(l.cfg.MaxJobs, minLingering):
		return false
	case len(c.out) > 0:
		return true
	}
	return c.sent > 0 && c.reason != io.EOF
}

// closeAfter closes the connection after d unless it has been closed by then.
func (c *Conn) closeAfter(d time.Duration) {
	if d < 0 { // no limit for the user's own waits, but closing needs one
		d = maxFlush
	}
	if c.l.draining {
		d = min(d, drainLinger)
	}
	c.rd.limit, c.wr.limit = c.l.after(d), 0
	c.l.setTimer(&c.timer, c.rd.limit)
}

// flush sends the remaining output, then shuts the sending side.
func (c *Conn) flush() {
	err := c.send(nil)
	if err == nil && len(c.out) > 0 {
		return
	}
	if err != nil || c.reason == io.EOF || sysShutdown(c.fd, true) != nil {
		c.closeNow()
		return
	}
	c.state.Store(connLingering)
	c.closeAfter(c.l.cfg.LingerTimeout)
	if c.rd.ready {
		c.discard()
	}
}

// discard reads and drops what the peer still sends.
func (c *Conn) discard() {
	buf := c.l.scratchBuffer()
	for c.taken < lingerSize {
		n, err := sysRead(c.fd, buf)
		if n > 0 {
			c.taken += n
		} else if err == nil || !wouldBlock(err) { // the peer's end, or an error
			break
		} else if !interrupted(err) {
			return
		}
	}
	c.closeNow()
}

// closeNow closes the connection, on the loop's goroutine.
func (c *Conn) closeNow() {
	if c.fd < 0 {
		return
	}
	fd := c.fd
	if c.exposed { // a duplicate of the descriptor may keep the registration alive
		c.l.poller.remove(fd)
	}
	defer sysClose(fd) // even if a hook ends the goroutine
	c.l.claim(fd)
}

// lost is called when the connection no longer owns its descriptor.
func (c *Conn) lost() {
	l := c.l
	state := c.state.Swap(connClosed)
	c.fd = -1
	c.rise()
	c.next, c.out = nil, nil
	l.stopTimer(&c.timer)
	c.rd.wake()
	c.wr.wake()
	if state >= connFlushing {
		l.lingering--
	} else {
		l.conns--
	}
	c.ended()
	if c.counted {
		c.counted = false
		l.leave(c.remote)
	}
	l.descriptorFreed()
}

// ended is called when the connection is being closed, and again when its job
// ends after that. Then nobody serves it any more.
func (c *Conn) ended() {
	c.next = nil
	if c.tls != nil && c.task == nil {
		c.tls.ended()
	}
}

// closeLingering closes up to 16 lingering connections to free descriptors, and
// returns how many.
func (l *Loop) closeLingering() (closed int) {
	for fd := 0; fd < len(l.slots) && l.lingering > 0 && closed < 16; fd++ {
		if c := l.slots[fd].conn; c != nil && c.state.Load() >= connFlushing {
			c.closeNow()
			closed++
		}
	}
	return closed
}

// closeOneLingering closes one accepted connection that only waits for its peer
// to close, to make room for a new one. It reports whether it found any.
func (l *Loop) closeOneLingering(like func(*Conn) bool) bool {
	for range len(l.slots) {
		if l.lingering == 0 {
			return false
		}
		l.lingerScan = (l.lingerScan + 1) % len(l.slots) // go on from the last one closed
		if c := l.slots[l.lingerScan].conn; c != nil && c.counted && c.state.Load() == connLingering && like(c) {
			c.closeNow()
			return true
		}
	}
	return false
}
