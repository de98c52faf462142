package loop

import "net"

// LocalAddr returns the address of this end, a *net.TCPAddr or *net.UnixAddr,
// also when the connection has been closed. It may be called from any
// goroutine.
func (c *Conn) LocalAddr() net.Addr { return netAddr(c.local) }

// RemoteAddr returns the address of the other end, as LocalAddr does this
// one's.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }
