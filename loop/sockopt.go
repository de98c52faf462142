package loop

import (
	"net"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.l }

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

// SetLinger sets what closing does with unsent data (SO_LINGER): with 0 it is
// dropped and the connection reset, with more closing blocks for at most so
// many seconds, with less, as at first, it is sent in the background.
func (c *Conn) SetLinger(sec int) error {
	return c.control(func(fd int) error { return setLinger(fd, sec) })
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
func (c *Conn) CloseRead() error {
	return c.control(func(fd int) error { return sysShutdown(fd, false) })
}

// CloseWrite shuts the writing side: the peer reads io.EOF.
func (c *Conn) CloseWrite() error {
	c.closedWrite = true
	return c.control(func(fd int) error { return sysShutdown(fd, true) })
}

func (c *Conn) control(f func(fd int) error) error {
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	if err := f(c.fd); err != nil {
		return c.opError("set", err)
	}
	return nil
}

// SyscallConn gives access to the descriptor, under the rules of the other
// methods. The descriptor is non-blocking; the functions given to Read and
// Write return false where it would block.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.closed.Load() {
		return nil, c.opError("raw", net.ErrClosed)
	}
	c.exposed = true
	return rawConn{c}, nil
}

type rawConn struct{ c *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	return r.c.control(func(fd int) error { f(uintptr(fd)); return nil })
}

func (r rawConn) Read(f func(fd uintptr) bool) error {
	return r.do("raw-read", &r.c.rd, waitctx.Readable, r.c.l.cfg.IdleTimeout, f)
}

func (r rawConn) Write(f func(fd uintptr) bool) error {
	return r.do("raw-write", &r.c.wr, waitctx.Writable, r.c.l.cfg.WriteTimeout, f)
}

func (r rawConn) do(op string, s *side, ev waitctx.Events, bound time.Duration, f func(fd uintptr) bool) error {
	for {
		if err := r.c.usable(s); err != nil {
			return r.c.opError(op, err)
		}
		if f(uintptr(r.c.fd)) {
			r.c.moved()
			return nil
		}
		s.ready = false
		if s == &r.c.rd && r.c.failed != nil {
			return r.c.opError(op, r.c.failed)
		}
		if err := r.c.await(s, ev, bound); err != nil {
			return r.c.opError(op, err)
		}
	}
}
