package loop

import "net"

// LocalAddr returns the address of this end: a *net.TCPAddr or *net.UnixAddr.
func (c *Conn) LocalAddr() net.Addr {
	if c.local == nil && c.fd >= 0 {
		c.local = localAddr(c.fd)
	}
	return c.local
}

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr {
	if c.raddr == nil && c.remote != nil {
		c.raddr = netAddr(c.remote)
	}
	return c.raddr
}
