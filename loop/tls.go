package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// TLSHandler is a Handler that speaks TLS: crypto/tls as it is, in the
// connection's job. A connection holds no job before its first bytes arrive.
type TLSHandler struct {
	// Config is the server's. Loops that share one resume each other's
	// sessions.
	Config *tls.Config

	// HandshakeTimeout bounds the whole handshake, waiting for the first bytes
	// included: 0 for 10 seconds, negative for no bound but Config.IdleTimeout
	// for each read.
	HandshakeTimeout time.Duration

	// Handler is called when the handshake is done. When it returns, the
	// connection is closed with a close_notify alert (RFC 8446, section
	// 6.1); unless its error is ErrWouldBlock: then it is called again when
	// there is something to read. c.NetConn() is the *Conn.
	Handler func(ctx context.Context, c *tls.Conn) error

	// OnHandshake, if not nil, is called in the job when a handshake has ended,
	// with the time since its connection was accepted and its error.
	OnHandshake func(c *tls.Conn, took time.Duration, err error)
}

// Serve waits for the first bytes and then does the handshake.
func (h *TLSHandler) Serve(ctx context.Context, c *Conn) error {
	if h.Config == nil || h.Handler == nil {
		return errors.New("loop: TLSHandler without Config or Handler")
	}
	timeout := h.HandshakeTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	now := time.Now()
	if timeout > 0 {
		c.SetDeadline(now.Add(timeout))
	}
	return c.Park(&tlsSession{h: h, accepted: now})
}

// tlsSession is a TLSHandler's connection.
type tlsSession struct {
	h        *TLSHandler
	conn     *tls.Conn
	accepted time.Time
}

// Serve runs the handler, at first after the handshake.
func (s *tlsSession) Serve(ctx context.Context, c *Conn) error {
	if s.conn == nil {
		s.conn = tls.Server(c, s.h.Config)
		err := s.conn.HandshakeContext(ctx)
		if s.h.OnHandshake != nil {
			s.h.OnHandshake(s.conn, time.Since(s.accepted), err)
		}
		if err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		c.SetDeadline(time.Time{})
	}
	err := s.h.Handler(ctx, s.conn)
	if c.parked != nil || errors.Is(err, ErrWouldBlock) {
		return err
	}
	if cerr := s.conn.Close(); err == nil {
		err = cerr
	}
	return err
}
