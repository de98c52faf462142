package loop

import (
	"io"
	"os"
	"syscall"

	"github.com/jobloop/jobloop/waitctx"
)

// Read reads into p, and pauses the job until there is something to read. It returns
// io.EOF when the peer has closed its side.
func (c *Conn) Read(p []byte) (int, error) {
	c.unread = false
	c.rd.busy++
	defer func() { c.rd.busy-- }()
	for {
		n, err := c.readNow(p)
		if n > 0 {
			c.heard = c.heard || c.tls == nil
			c.moved()
		}
		if err != ErrWouldBlock {
			return n, err
		}
		if err := c.await(&c.rd, waitctx.Readable, c.l.cfg.IdleTimeout); err != nil {
			return 0, c.opError("read", err)
		}
	}
}

// readNow is Read without waiting: where Read would wait, it returns
// ErrWouldBlock.
func (c *Conn) readNow(p []byte) (int, error) {
	err := c.usable(&c.rd)
	switch {
	case len(p) == 0 && (err == nil || err == os.ErrDeadlineExceeded):
		return 0, nil
	case err != nil:
		return 0, c.opError("read", err)
	}
	for c.rd.ready {
		n, err := sysRead(c.fd, p)
		switch {
		case n > 0:
			if n < len(p) && !c.sticky { // an edge will announce further bytes
				c.rd.ready = false
			}
			return n, nil
		case err == nil:
			return 0, c.readEnd()
		case interrupted(err):
		case wouldBlock(err):
			c.rd.ready = false
		default:
			return 0, c.failed("read", err)
		}
	}
	if c.reason == os.ErrDeadlineExceeded || c.reason == ErrShutdown {
		return 0, c.opError("read", c.reason)
	}
	return 0, ErrWouldBlock
}

// readEnd returns the error for a read of 0 bytes: io.EOF or the socket's error.
func (c *Conn) readEnd() error {
	if errno, ok := c.reason.(syscall.Errno); ok && errno != errnoEPIPE {
		return c.failed("read", errno) // look has taken it from the socket
	}
	if !c.gone() {
		c.reason = io.EOF
	}
	return io.EOF
}
