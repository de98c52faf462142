package loop

import (
	"errors"
	"io"
	"math"
	"os"
	"syscall"

	"github.com/jobloop/jobloop/waitctx"
)

// Write writes p, and pauses the job while the socket takes no more. If it writes
// fewer than len(p) bytes, it returns an error. Writes by several jobs at the same
// time may be interleaved.
func (c *Conn) Write(p []byte) (int, error) {
	c.wr.busy++
	defer func() { c.wr.busy-- }()
	done := 0
	for {
		n, err := c.writeNow(p[done:])
		done += n
		if n > 0 {
			c.moved()
		}
		if err == nil && done == len(p) {
			return done, nil
		}
		if err == nil {
			continue
		}
		if err == ErrWouldBlock {
			if err = c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout); err == nil {
				continue
			}
			err = c.opError("write", err)
		}
		return done, err
	}
}

// writeNow writes what the socket takes. It returns ErrWouldBlock if the socket
// takes nothing.
func (c *Conn) writeNow(p []byte) (int, error) {
	if err := c.usable(&c.wr); err != nil {
		return 0, c.opError("write", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.out) > 0 {
		return 0, ErrWouldBlock
	}
	if !c.tcp {
		// Linux gives no edge when either end shuts a Unix socket whose buffer is
		// full.
		c.wr.ready = true
	}
	return c.sysWrite(p)
}

// sysWrite writes as many bytes of p as the socket takes, with write(2).
func (c *Conn) sysWrite(p []byte) (int, error) {
	if errno, ok := c.reason.(syscall.Errno); ok && c.tcp { // look has taken it from the socket
		return 0, c.failed("write", errno)
	}
	if c.gone() {
		// The kernel would return the same error and also send SIGPIPE, since
		// crypto/tls says goodbye on every connection.
		return 0, c.opError("write", os.NewSyscallError("write", errnoEPIPE))
	}
	for c.wr.ready {
		n, err := sysWrite(c.fd, p)
		switch {
		case n > 0:
			c.sent = uint8(min(int(c.sent)+n, math.MaxUint8))
			return n, nil
		case err == nil:
			return 0, c.opError("write", io.ErrUnexpectedEOF)
		case interrupted(err):
		case wouldBlock(err):
			c.wr.ready = false
		default:
			if isErrno(err, errnoEPIPE) { // perhaps only this side has been shut
				return 0, c.opError("write", os.NewSyscallError("write", err))
			}
			return 0, c.failed("write", err)
		}
	}
	return 0, ErrWouldBlock
}

// send sends p after the output that is waiting already. It keeps what the socket
// does not take; the loop will send that later.
func (c *Conn) send(p []byte) error {
	for len(c.out) > 0 {
		n, err := c.sysWrite(c.out)
		if err == ErrWouldBlock {
			c.out = append(c.out, p...)
			return nil
		}
		if err != nil {
			c.out = nil
			return err
		}
		if c.out = c.out[n:]; len(c.out) == 0 {
			c.out = nil
		}
	}
	for len(p) > 0 {
		n, err := c.sysWrite(p)
		if err == ErrWouldBlock {
			c.out = append(c.out, p...)
			return nil
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// sendKept sends the output that send has kept. It saves an error for the next
// Write.
func (c *Conn) sendKept() {
	if len(c.out) == 0 {
		return
	}
	var errno syscall.Errno
	if err := c.send(nil); errors.As(err, &errno) {
		c.reason = errno
	}
}
