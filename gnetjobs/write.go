package gnetjobs

import (
	"io"
	"net"
	"os"
)

// Write sends p, or has gnet keep what the peer does not take. An error has
// closed the connection.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	return c.seal(p)
}

// Writev is Write for several slices, sent together.
func (c *conn) Writev(bs [][]byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	if c.tls == nil {
		n, err := c.raw.Writev(bs)
		return n, c.wrote(n, err)
	}
	return c.seal(bs...)
}

// ReadFrom sends what it reads from r.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Flush sends what gnet keeps, as far as the peer takes it.
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

// writable says why nothing can be sent, if so.
func (c *conn) writable() error {
	switch c.phase {
	case phaseClosing, phaseClosed:
		return net.ErrClosed
	}
	if c.notified {
		return errWriteClosed
	}
	if limit := c.host.handler.opts.MaxOutbound; limit > 0 && c.raw.OutboundBuffered() > limit {
		c.fail(ErrOutboundFull)
		return ErrOutboundFull
	}
	return nil
}

// sealSize is how much is encrypted before it is given to gnet, in one write.
// crypto/tls would do that for each record, of which the first are of little
// more than a kilobyte.
const sealSize = 64 << 10

// seal encrypts and sends what is in bs.
func (c *conn) seal(bs ...[]byte) (int, error) {
	done := 0
	if c.tls == nil {
		n, err := c.raw.Write(bs[0])
		return n, c.wrote(n, err)
	}
	h := c.host
	for _, p := range bs {
		for len(p) > 0 {
			h.sealing = true
			n, err := c.tls.Write(p[:min(len(p), sealSize)])
			h.sealing = false
			done += n
			p = p[n:]
			if err != nil {
				h.sealed = h.sealed[:0]
				c.fail(err)
				return done, err
			}
			if len(h.sealed) < sealSize {
				continue
			}
			if err := c.sendSealed(); err != nil {
				return done, err
			}
		}
	}
	return done, c.sendSealed()
}

// sendSealed gives gnet what has been encrypted.
func (c *conn) sendSealed() error {
	h := c.host
	if len(h.sealed) == 0 {
		return nil
	}
	n, err := c.raw.Write(h.sealed)
	h.sealed = h.sealed[:0]
	return c.wrote(n, err)
}

// wrote is told what has become of a write of gnet's.
func (c *conn) wrote(n int, err error) error {
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	c.written += uint64(n)
	c.watchWrites()
	return nil
}
