package loop

import "net"

// LocalAddr returns the address of this end, a *net.TCPAddr or *net.UnixAddr,
// even after the connection has been closed. It may be called from any
// goroutine.
func (c *Conn) LocalAddr() net.Addr {
	switch {
	case c.local != nil:
		return netAddr(c.local)
	case c.tcp: // reset before the loop could ask, or not connected yet
		return new(net.TCPAddr)
	}
	return &net.UnixAddr{Net: "unix"}
}

// RemoteAddr returns the address of the other end. The rules of LocalAddr
// apply.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }
