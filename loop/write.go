package loop

import (
	"errors"
	"io"
	"math"
	"os"
	"syscall"

	"github.com/jobloop/jobloop/waitctx"
)

// Write writes p, and pauses the job while the socket takes no more. It
// returns fewer than len(p) bytes only with an error. Writes that several jobs
// make at once may be mixed.
func (c *Conn) Write(p []byte) (int, error) {
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

// writeNow writes what the socket takes. It returns ErrWouldBlock if that is
// nothing.
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
		// Linux gives no edge when a Unix socket whose buffer is full can no
		// longer be written to, since either end has shut it.
		c.wr.ready = true
	}
	return c.sysWrite(p)
}

// sysWrite is write(2), of fewer bytes than p has if the socket takes no more.
func (c *Conn) sysWrite(p []byte) (int, error) {
	if errno, ok := c.reason.(syscall.Errno); ok && c.tcp { // a look has taken it from the socket
		return 0, c.failed("write", errno)
	}
	if c.gone() {
		// The kernel would say the same, and send SIGPIPE. crypto/tls says
		// goodbye on every connection.
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
			if isErrno(err, errnoEPIPE) { // this side has been shut, perhaps
				return 0, c.opError("write", os.NewSyscallError("write", err))
			}
			return 0, c.failed("write", err)
		}
	}
	return 0, ErrWouldBlock
}

// send sends p after what waits to be sent, and keeps what the socket does not
// take: the loop will send it.
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

// sendKept sends what send has kept. An error is kept for the next Write.
func (c *Conn) sendKept() {
	if len(c.out) == 0 {
		return
	}
	var errno syscall.Errno
	if err := c.send(nil); errors.As(err, &errno) {
		c.reason = errno
	}
}
