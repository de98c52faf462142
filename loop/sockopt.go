package loop

import "net"

// SetNoDelay sets whether small writes are sent at once (true, the default) or
// gathered (TCP_NODELAY).
func (c *Conn) SetNoDelay(on bool) error {
	return c.control(func(fd int) error { return setNoDelay(fd, on) })
}

// SetKeepAlive sets whether the kernel probes an idle peer (SO_KEEPALIVE). By
// default it does not, because the idle timeout finds dead peers.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.control(func(fd int) error { return setKeepAlive(fd, on) })
}

// SetLinger makes Close close the socket at once, without the loop's own
// lingering, and sets what the kernel then does with unsent data (SO_LINGER). If
// sec is 0, the data is dropped and the connection reset. If sec is negative, the
// data is sent in the background. If sec is positive, closing blocks the loop for
// up to that many seconds.
func (c *Conn) SetLinger(sec int) error {
	err := c.control(func(fd int) error { return setLinger(fd, sec) })
	c.abort = c.abort || err == nil
	return err
}

// SetReadBuffer sets the size of the kernel's receive buffer in bytes.
func (c *Conn) SetReadBuffer(n int) error {
	return c.control(func(fd int) error { return setBuffer(fd, false, n) })
}

// SetWriteBuffer sets the size of the kernel's send buffer in bytes.
func (c *Conn) SetWriteBuffer(n int) error {
	return c.control(func(fd int) error { return setBuffer(fd, true, n) })
}

// CloseRead shuts the reading side. Reads then return io.EOF.
func (c *Conn) CloseRead() error { return c.shutdown(&c.rd, false) }

// CloseWrite shuts the writing side. The peer then reads io.EOF.
func (c *Conn) CloseWrite() error { return c.shutdown(&c.wr, true) }

// shutdown shuts a side. Not every kernel reports that to the poller, so it wakes
// the waiting jobs itself.
func (c *Conn) shutdown(s *side, write bool) error {
	if c.state.Load() >= connClosing {
		return c.opError("close", net.ErrClosed)
	}
	if err := sysShutdown(c.fd, write); err != nil {
		return c.opError("close", err)
	}
	s.ready = true
	s.wake()
	return nil
}

func (c *Conn) control(f func(fd int) error) error {
	if c.state.Load() >= connClosing {
		return c.opError("set", net.ErrClosed)
	}
	if err := f(c.fd); err != nil {
		return c.opError("set", err)
	}
	return nil
}
