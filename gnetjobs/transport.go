package gnetjobs

import (
	"cmp"
	"errors"
	"io"
	"net"

	"github.com/jobloop/jobloop/internal/tlsio"
)

// transport is a connection as the transport of TLS records, so what passes through
// it is encrypted. During the handshake, Read pauses the job. Nothing else waits.
type transport conn

var _ tlsio.Transport = (*transport)(nil)

// Read reads what gnet has received, or waits for it.
func (t *transport) Read(p []byte) (int, error) {
	c := (*conn)(t)
	if c.task == nil || !c.task.job.Inside() { // a callback of crypto/tls may have kept the connection
		return 0, ErrNotInJob
	}
	for {
		n, err := t.ReadNow(p)
		if err != tlsio.ErrWouldBlock {
			return n, err
		}
		if err := c.task.await(wantRead, 0); err != nil && c.phase < phaseClosing {
			return 0, err
		}
	}
}

// ReadNow reads what gnet has received.
func (t *transport) ReadNow(p []byte) (int, error) {
	c := (*conn)(t)
	if c.phase >= phaseClosing {
		return 0, c.readError()
	}
	n, _ := c.raw.Read(p)
	if n == 0 && len(p) > 0 {
		return 0, tlsio.ErrWouldBlock
	}
	return n, nil
}

// Write gives p to gnet, which keeps what the socket does not take.
func (t *transport) Write(p []byte) (int, error) {
	c := (*conn)(t)
	if c.phase >= phaseLingering {
		return 0, net.ErrClosed
	}
	n, err := c.raw.Write(p)
	return n, c.wrote("write", n, err)
}

// Queue sends what crypto/tls sends by itself.
func (t *transport) Queue(p []byte) error {
	c := (*conn)(t)
	if c.phase < phaseLingering && c.outboundFull(alertRoom) { // the peer floods us with messages that need an answer
		c.fail(ErrOutboundFull)
		return ErrOutboundFull
	}
	_, err := t.Write(p)
	return err
}

// alertRoom is by how many bytes the output may exceed Options.MaxOutbound when
// crypto/tls sends an alert or an answer.
const alertRoom = 1 << 10

// readError returns the error for a read from a connection that is being closed.
func (c *conn) readError() error {
	switch {
	case c.cause != nil && c.cause != io.EOF:
		return c.cause
	case c.ended, c.host.handler.cfg == nil && errors.Is(c.gnetErr, io.EOF):
		return io.EOF
	}
	return cmp.Or(c.lossError(), net.ErrClosed)
}

// Close does nothing: the connection's own methods close it.
func (t *transport) Close() error { return nil }

func (t *transport) LocalAddr() net.Addr  { return t.local }
func (t *transport) RemoteAddr() net.Addr { return t.remote }

// NetConn returns the connection that the handler sees.
func (t *transport) NetConn() net.Conn { return (*conn)(t) }
