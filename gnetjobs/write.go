package gnetjobs

import (
	"io"
	"net"
	"os"

	"github.com/jobloop/jobloop/internal/tlsio"
)

// Write sends p. gnet keeps what the peer does not take. If sending fails, the
// connection is closed.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	return c.send(p)
}

// Writev is Write for several slices, sent together.
func (c *conn) Writev(bs [][]byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	return c.send(bs...)
}

// ReadFrom sends what it reads from r, without waiting for Flush.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Flush sends as much of what gnet keeps as the peer takes.
func (c *conn) Flush() error {
	if c.phase >= phaseEnding {
		return net.ErrClosed
	}
	return c.raw.Flush()
}

// OutboundBuffered returns the number of bytes that gnet keeps.
func (c *conn) OutboundBuffered() int {
	if c.phase == phaseClosed {
		return 0
	}
	return c.raw.OutboundBuffered()
}

// writable returns nil if something can be sent, or the reason why not.
func (c *conn) writable() error {
	switch {
	case c.phase >= phaseClosing && c.phase != phaseEnding:
		return net.ErrClosed
	case !c.opened:
		return errNotOpen
	case c.notified:
		return errWriteClosed
	case c.outboundFull(0):
		c.fail(ErrOutboundFull)
		return ErrOutboundFull
	}
	return nil
}

// outboundFull reports whether gnet keeps over by bytes more than MaxOutbound.
func (c *conn) outboundFull(by int) bool {
	limit := c.host.handler.opts.MaxOutbound
	return limit > 0 && c.raw.OutboundBuffered() > limit+by
}

// send sends the bytes in bs, encrypted if the connection uses TLS.
func (c *conn) send(bs ...[]byte) (int, error) {
	h := c.host
	if h.handler.cfg == nil {
		n, err := c.raw.Writev(bs)
		return n, c.wrote("writev", n, err)
	}
	// Take the buffer from the host meanwhile: gnet may call OnClose in its Write,
	// and OnClose may write to another connection.
	sealed := h.sealed
	h.sealed = nil
	done := 0
	for _, p := range bs {
		for len(p) > 0 {
			var n int
			var err error
			sealed, n, err = c.tls.Seal(sealed, p)
			done += n
			p = p[n:]
			if err != nil {
				c.fail(err)
				return done, err
			}
			if len(sealed) < tlsio.SealSize {
				continue
			}
			if err := c.sendSealed(sealed); err != nil {
				return done, err
			}
			sealed = sealed[:0]
		}
	}
	err := c.sendSealed(sealed)
	h.sealed = sealed[:0]
	return done, err
}

func (c *conn) sendSealed(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := c.raw.Write(p)
	return c.wrote("write", n, err)
}

// wrote is called with the result of a write by gnet. It closes the connection on an
// error, because on Windows gnet does not do so.
func (c *conn) wrote(op string, n int, err error) error {
	if err != nil {
		err = os.NewSyscallError(op, err)
		c.fail(err)
		return err
	}
	c.written += uint64(n)
	c.watchWrites()
	if c.paused {
		c.pauseReading() // gnet may have begun to read again
	}
	return nil
}
