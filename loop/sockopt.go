package loop

import "net"

// SetNoDelay chooses whether small writes are sent at once (true, as at first)
// or gathered (TCP_NODELAY).
func (c *Conn) SetNoDelay(on bool) error {
	return c.control(func(fd int) error { return setNoDelay(fd, on) })
}

// SetKeepAlive chooses whether the kernel probes an idle peer (SO_KEEPALIVE).
// At first it does not: the idle timeout finds dead peers.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.control(func(fd int) error { return setKeepAlive(fd, on) })
}

// SetLinger makes the connection close as the system does it, at once, and sets
// what that does with unsent data (SO_LINGER): with 0 it is dropped and the
// connection reset, with more closing blocks the loop for at most so many
// seconds, with less it is sent in the background.
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

// CloseRead shuts the reading side: reads return io.EOF.
func (c *Conn) CloseRead() error { return c.shutdown(&c.rd, false) }

// CloseWrite shuts the writing side: the peer reads io.EOF.
func (c *Conn) CloseWrite() error { return c.shutdown(&c.wr, true) }

// shutdown shuts a side. Not every kernel tells the poller of it, so who waits
// has to look.
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
