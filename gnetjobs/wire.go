package gnetjobs

import (
	"cmp"
	"errors"
	"io"
	"net"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// wire is a connection as crypto/tls sees it: what passes is encrypted.
// During the handshake Read pauses its job; afterwards it never waits, so that
// crypto/tls holds none of its locks while anything else runs. Write never
// waits.
type wire conn

var _ net.Conn = (*wire)(nil)

// Read reads what gnet has received.
func (w *wire) Read(p []byte) (int, error) {
	c := (*conn)(w)
	for {
		if c.phase >= phaseClosing {
			return 0, c.readError()
		}
		if len(p) == 0 {
			return 0, nil
		}
		if n, _ := c.raw.Read(p); n > 0 {
			return n, nil
		}
		if c.phase != phaseHandshake {
			return 0, loop.ErrWouldBlock
		}
		if err := c.task.await(wantRead, 0); err != nil && c.phase < phaseClosing {
			return 0, err
		}
	}
}

// Write collects what seal is to send, and gives gnet at once what crypto/tls
// sends by itself.
func (w *wire) Write(p []byte) (int, error) {
	c := (*conn)(w)
	if c.phase == phaseClosed {
		return 0, net.ErrClosed
	}
	if c.host.sealing {
		c.host.sealed = append(c.host.sealed, p...)
		return len(p), nil
	}
	if c.opened && c.outboundFull(alertRoom) { // a flood of messages that ask for an answer
		c.fail(ErrOutboundFull)
		return 0, ErrOutboundFull
	}
	n, err := c.raw.Write(p)
	return n, c.wrote("write", n, err)
}

// alertRoom is what an alert may exceed Options.MaxOutbound by.
const alertRoom = 1 << 10

// readError says why nothing more can be read from a connection that is being
// closed.
func (c *conn) readError() error {
	switch {
	case c.cause != nil && c.cause != io.EOF:
		return c.cause
	case c.ended, c.tls == nil && errors.Is(c.gnetErr, io.EOF):
		return io.EOF
	}
	return cmp.Or(c.lossError(), net.ErrClosed)
}

// Close does nothing: the connection's own methods close it.
func (w *wire) Close() error { return nil }

func (w *wire) LocalAddr() net.Addr  { return w.local }
func (w *wire) RemoteAddr() net.Addr { return w.remote }

// Deadlines are the connection's business.
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
