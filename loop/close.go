package loop

import (
	"io"
	"net"
	"time"
)

// How a connection ends. The kernel resets a connection that is closed while
// bytes of the peer's are unread, or still come, and drops what it has not sent
// yet: the peer would lose the end of the answer. So the loop shuts the sending
// side first, drops what still comes, for a bounded time and amount, and closes
// when the peer has closed. That needs no job.

const (
	// lingerSize is the most bytes that are taken from a peer meanwhile.
	lingerSize = 1 << 20
	// drainLinger is how long it lasts at most while the loop shuts down, and how
	// long a client may take then that has connected and not been served yet.
	drainLinger = 500 * time.Millisecond
	// minLingering is how many may linger at a time at least.
	minLingering = 1024
	// maxFlush bounds the sending of what is left if Config.WriteTimeout does not.
	maxFlush = 30 * time.Second
)

// Close closes the connection. Reads and writes that wait end with
// net.ErrClosed. What has been written is sent: the loop lingers with the
// connection, as Config.LingerTimeout says, if the peer has not closed its
// side yet. Close may be called from any goroutine and does not wait. A second
// call is net.ErrClosed.
func (c *Conn) Close() error { return c.close(connCutting) }

// close closes the connection, which is to be in state meanwhile.
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
	c.l.send(message{conn: c}) // if the loop has ended, it has closed it
	return nil
}

// shut begins the end of the connection, on the loop's goroutine.
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

// mustLinger reports whether closing the connection at once could cost the peer
// something that was written.
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

// closeAfter has the connection closed after d, if it is not before.
func (c *Conn) closeAfter(d time.Duration) {
	if d < 0 { // a bound that the user does not want for his own waits
		d = maxFlush
	}
	if c.l.draining {
		d = min(d, drainLinger)
	}
	c.rd.limit, c.wr.limit = c.l.after(d), 0
	c.l.setTimer(&c.timer, c.rd.limit)
}

// flush sends what is left, then shuts the sending side.
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

// discard drops what the peer still sends.
func (c *Conn) discard() {
	buf := c.l.scratchBuffer()
	for c.taken < lingerSize {
		n, err := sysRead(c.fd, buf)
		if n > 0 {
			c.taken += n
		} else if err == nil || !wouldBlock(err) { // its end, or an error
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
	if c.exposed { // a duplicate may keep the registration alive
		c.l.poller.remove(fd)
	}
	defer sysClose(fd) // even if a hook ends the goroutine
	c.l.claim(fd)
}

// lost is told that the connection no longer has its descriptor.
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

// ended is called when the connection is being closed, and when its job has
// ended after that: nobody serves it any more then.
func (c *Conn) ended() {
	c.next = nil
	if c.tls != nil && c.task == nil {
		c.tls.ended()
	}
}

// closeLingering closes some of what only lingers, because descriptors are needed.
func (l *Loop) closeLingering() (closed int) {
	for fd := 0; fd < len(l.slots) && l.lingering > 0 && closed < 16; fd++ {
		if c := l.slots[fd].conn; c != nil && c.state.Load() >= connFlushing {
			c.closeNow()
			closed++
		}
	}
	return closed
}

// closeOneLingering closes an accepted connection that waits for nothing but its
// peer's end, in favour of a new one, and reports whether there was any.
func (l *Loop) closeOneLingering(like func(*Conn) bool) bool {
	for range len(l.slots) {
		if l.lingering == 0 {
			return false
		}
		l.lingerScan = (l.lingerScan + 1) % len(l.slots) // not always from the first
		if c := l.slots[l.lingerScan].conn; c != nil && c.counted && c.state.Load() == connLingering && like(c) {
			c.closeNow()
			return true
		}
	}
	return false
}
