package loop

import "net"

// LocalAddr returns the address of this end, a *net.TCPAddr or *net.UnixAddr,
// even after the connection has been closed. It may be called from any
// goroutine.
func (c *Conn) LocalAddr() net.Addr { return netAddr(c.local) }

// RemoteAddr returns the address of the other end. The rules of LocalAddr
// apply.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }
