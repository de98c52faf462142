package loop

import (
	"net"
	"os"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// SyscallConn gives access to the descriptor, under the same rules as the other
// methods. The descriptor is non-blocking. The functions given to Read and Write
// must return false where it would block.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.state.Load() >= connClosing {
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
	if s == &r.c.rd {
		r.c.unread = false
	}
	for {
		if err := r.c.usable(s); err != nil {
			return r.c.opError(op, err)
		}
		if f(uintptr(r.c.fd)) {
			if s == &r.c.wr {
				r.c.sent = max(r.c.sent, 1)
			}
			r.c.moved()
			return nil
		}
		s.ready = false
		if s == &r.c.rd && (r.c.reason == os.ErrDeadlineExceeded || r.c.reason == ErrShutdown) {
			return r.c.opError(op, r.c.reason)
		}
		if err := r.c.await(s, ev, bound); err != nil {
			return r.c.opError(op, err)
		}
	}
}
