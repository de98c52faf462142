package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/jobloop/jobloop/jobs"
)

// TLSHandler is a Handler that speaks TLS, using the unmodified crypto/tls.
// Handshakes run in jobs. A connection holds no job before its first bytes arrive.
type TLSHandler struct {
	// Config is the server's configuration. Loops that share a Config can resume
	// each other's sessions. Its callbacks get a tls.ClientHelloInfo whose Conn has
	// a method NetConn() net.Conn, which returns the *Conn.
	Config *tls.Config

	// HandshakeTimeout bounds the time from when the connection was made to the end
	// of its handshake, whatever the handshake waits for: bytes, a job, a key
	// engine, or to be accepted (where that is known: Linux). 0 means 10 seconds.
	// Negative means no limit except Config.IdleTimeout for each read.
	HandshakeTimeout time.Duration

	// Handler is called when the handshake is done. When it returns, the connection
	// is closed as by TLSConn.Close, unless it was parked. A parked connection's
	// handler is called again when there is something to read (see TLSConn.Park).
	Handler func(ctx context.Context, c *TLSConn) error

	// The following functions may be nil. They are called on the loop's goroutine,
	// inside the connection's job or outside any job, and must not wait.

	// OnHello is called when a connection's first bytes have arrived, before its
	// handshake.
	OnHello func(c *TLSConn)

	// OnHandshake is called when a handshake has ended. It gets the time since the
	// connection was made, and the error, or nil if the handshake succeeded. It is
	// called once for each connection, even if the handshake never began. The
	// exception is connections turned away when they were accepted, which are only
	// counted in Stats.
	//
	// The error matches os.ErrDeadlineExceeded if HandshakeTimeout has passed,
	// ErrOverloaded if the connection had waited too long to be served, ErrClientGone
	// if the client left before it was served, and ErrShutdown if the loop was shut
	// down before the end of the handshake.
	OnHandshake func(c *TLSConn, took time.Duration, err error)

	// OnClose is called when nobody serves a connection any more, after OnHandshake
	// and all calls of Handler. Data that was written may still be on its way.
	OnClose func(c *TLSConn)
}

// defaultHandshakeTimeout applies if HandshakeTimeout is 0.
const defaultHandshakeTimeout = 10 * time.Second

// Serve parks the connection. When its first bytes arrive, a job does the
// handshake and then calls Handler.
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

// adopt makes c a TLS connection of h, and returns the Handler to run when bytes
// have arrived.
func (h *TLSHandler) adopt(c *Conn) Handler {
	t := newTLSConn(c)
	t.h = h
	c.heard = false // the protocol changes here
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

// Serve does the handshake if necessary, then runs the handler.
func (s *tlsServer) Serve(ctx context.Context, c *Conn) error {
	t := (*TLSConn)(s)
	if t.handshake == handshakeNone && t.h != nil {
		t.begin()
		if err := t.finish(t.HandshakeContext(ctx)); err != nil {
			return err
		}
	}
	if t.next != nil {
		return t.next(ctx, t)
	}
	return t.h.Handler(ctx, t)
}

// begin prepares for the handshake.
//
// What comes before the handshake and after it is in functions of its own, so that their
// frames are not on the stack while the handshake waits. Then 8 KB are enough for the
// stack (go1.26). Measured with the benchmarks' scenario idle (--state half-handshake,
// 5,000 connections, httploop): 27.5 KB of live memory each before, 20.5 KB since.
//
//go:noinline
func (t *TLSConn) begin() {
	c := t.c
	// The deadlines end waits for this connection; c.limit ends all other waits.
	c.rd.deadline, c.wr.deadline = c.limit, c.limit
	if t.h.OnHello != nil {
		t.handshake = handshakeRunning // so that the hook cannot start the handshake
		t.h.OnHello(t)
		t.handshake = handshakeNone
	}
	t.s.Server((*tlsTransport)(c), t.h.Config)
}

// finish reports the handshake, which ended with err.
//
//go:noinline
func (t *TLSConn) finish(err error) error {
	c := t.c
	if err != nil && c.rd.deadline != 0 && c.rd.deadline <= c.l.clock() && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err) // a wait for an engine was cancelled
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

// report calls OnHandshake, once for each connection.
func (t *TLSConn) report(err error) {
	if t.h == nil || t.h.OnHandshake == nil || t.reported {
		return
	}
	t.reported = true
	if (errors.Is(err, errNeverBegun) || errors.Is(err, jobs.ErrCanceled)) && t.c.l.ShuttingDown() {
		err = fmt.Errorf("%w: %w", ErrShutdown, err)
	}
	t.h.OnHandshake(t, time.Duration(t.c.l.clock()-t.c.began), err)
}

// notServed ends a connection whose first job has never started, because its time
// is up or the loop shuts down.
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
	why := errNeverBegun
	if t.handshake == handshakeRunning {
		why = errNoResult
	}
	t.c.l.call(func() { t.report(t.c.opError("handshake", why)) })
	if t.h.OnClose != nil {
		t.c.l.call(func() { t.h.OnClose(t) })
	}
}

var (
	errNoResult   = errors.New("loop: the handshake ended in a panic or runtime.Goexit")
	errNeverBegun = errors.New("loop: the connection was closed before its handshake")
	errNoHandler  = errors.New("loop: TLSConn.Park: no handler to run")
)
