package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// TLSHandler is a Handler that speaks TLS: crypto/tls as it is. Handshakes are
// jobs; a connection holds none before its first bytes arrive.
type TLSHandler struct {
	// Config is the server's. Loops that share one resume each other's
	// sessions. The Conn of a tls.ClientHelloInfo, which its functions get, has a
	// method NetConn() net.Conn that returns the *Conn.
	Config *tls.Config

	// HandshakeTimeout bounds the whole handshake, from when the connection was
	// made to its end, wherever it waits: to be accepted (as far as that is known:
	// Linux), for bytes, for a job, for a key engine. 0 is for 10
	// seconds, negative for no bound but Config.IdleTimeout for each read.
	HandshakeTimeout time.Duration

	// Handler is called when the handshake is done. When it returns, the
	// connection is closed as TLSConn.Close does it; unless it was parked (see
	// TLSConn.Park): then it is called again when there is something to read.
	Handler func(ctx context.Context, c *TLSConn) error

	// The following are called, if they are not nil, on the loop's goroutine,
	// inside the connection's job or outside any job. They must not wait.

	// OnHello is called when a connection's first bytes have come, before its
	// handshake.
	OnHello func(c *TLSConn)

	// OnHandshake is called when a handshake has ended, with the time since the
	// connection was made and the error, nil if it succeeded. It is called once
	// for each connection, whatever became of it, but for those that were turned
	// away when they were accepted: Stats counts them. An error matches
	// os.ErrDeadlineExceeded if HandshakeTimeout has passed, ErrOverloaded if
	// the connection had waited too long to be served, and ErrClientGone if its
	// client had not waited for that.
	OnHandshake func(c *TLSConn, took time.Duration, err error)

	// OnClose is called when nobody serves a connection any more, after
	// OnHandshake and all calls of Handler. What has been written may still be on
	// its way.
	OnClose func(c *TLSConn)
}

// defaultHandshakeTimeout is for a HandshakeTimeout of 0.
const defaultHandshakeTimeout = 10 * time.Second

// Serve waits for the first bytes and then does the handshake.
func (h *TLSHandler) Serve(ctx context.Context, c *Conn) error {
	if err := h.valid(); err != nil {
		return err
	}
	return c.Park(h.adopt(c))
}

func (h *TLSHandler) valid() error {
	if h.Config == nil || h.Handler == nil {
		return errors.New("loop: TLSHandler without Config or Handler")
	}
	return nil
}

// adopt makes c a connection of the handler's, and returns what is to be run
// when it has got bytes.
func (h *TLSHandler) adopt(c *Conn) Handler {
	t := newTLSConn(c)
	t.h = h
	c.heard = false // from here on it is another protocol
	timeout := h.HandshakeTimeout
	if timeout == 0 {
		timeout = defaultHandshakeTimeout
	}
	if timeout > 0 {
		if c.limit = c.began + int64(timeout); c.limit < c.began {
			c.limit = math.MaxInt64
		}
		c.schedule(c.limit)
	}
	return (*tlsServer)(t)
}

// tlsServer is a TLSHandler's connection as the Handler of its jobs.
type tlsServer TLSConn

// Serve runs the handler, at first after the handshake.
func (s *tlsServer) Serve(ctx context.Context, c *Conn) error {
	t := (*TLSConn)(s)
	if t.handshake == handshakeNone && t.h != nil {
		if err := t.begin(ctx); err != nil {
			return err
		}
	}
	if t.next != nil {
		return t.next(ctx, t)
	}
	return t.h.Handler(ctx, t)
}

// begin does the handshake.
func (t *TLSConn) begin(ctx context.Context) error {
	c := t.c
	// Its own waits end by these, the others by the limit.
	c.rd.deadline, c.wr.deadline = c.limit, c.limit
	if t.h.OnHello != nil {
		t.handshake = handshakeRunning // it is not for the hook to begin
		t.h.OnHello(t)
		t.handshake = handshakeNone
	}
	t.s.Server((*tlsTransport)(c), t.h.Config)
	defer func() { t.report(errNoResult) }() // if a callback panics
	err := t.HandshakeContext(ctx)
	if err != nil && c.rd.deadline != 0 && c.rd.deadline <= c.l.clock() && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err) // an engine was cancelled
	}
	if err != nil && c.turned {
		err = c.whyTurnedAway()
	}
	c.limit = 0
	if err == nil {
		c.rd.deadline, c.wr.deadline = 0, 0
	}
	t.report(err)
	if err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

// report tells the user what has become of the handshake, once.
func (t *TLSConn) report(err error) {
	if t.h == nil || t.h.OnHandshake == nil || t.reported {
		return
	}
	t.reported = true
	t.h.OnHandshake(t, time.Duration(t.c.l.clock()-t.c.began), err)
}

// notServed ends a connection whose first job has never begun: its time is up,
// or the loop shuts down.
func (c *Conn) notServed() {
	if t := c.tls; t != nil {
		err := error(os.ErrDeadlineExceeded)
		if c.l.ShuttingDown() {
			err = ErrShutdown
		}
		c.l.call(func() { t.report(err) })
	}
	c.shut()
}

// ended is called when nobody serves the connection any more.
func (t *TLSConn) ended() {
	if t.h == nil || t.told {
		return
	}
	t.told = true
	t.c.l.call(func() { t.report(t.c.opError("handshake", errNeverBegun)) })
	if t.h.OnClose != nil {
		t.c.l.call(func() { t.h.OnClose(t) })
	}
}

var (
	errNoResult   = errors.New("loop: the handshake has ended in a panic or in runtime.Goexit")
	errNeverBegun = errors.New("loop: the connection was closed before its handshake")
	errNoHandler  = errors.New("loop: TLSConn.Park: no handler to run")
)
