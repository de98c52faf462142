package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// server is what the demo and serve have in common: HTTP over TLS on loops. It
// is the handler of new connections. (loop.TLSHandler does the same, but TLS runs
// on the connection itself there, where the demo has to count its reads.)
type server struct {
	tls   *tls.Config // one for all loops: they resume each other's sessions
	loops map[*loop.Loop]int

	closing atomic.Bool // each connection gets one more answer

	handshakeTimeout time.Duration // from the accept to the end of the handshake
	requestTimeout   time.Duration // from the first byte of a request to its last
	idleTimeout      time.Duration // from one request to the next

	wrap        func(*loop.Conn) net.Conn // what TLS runs on, if not the connection itself
	onHandshake func(handshake)
	onResponse  func(code int)
}

// handshake is what is reported of one, in its job.
type handshake struct {
	conn    net.Conn // what TLS runs on
	version uint16   // 0 if it failed before there was one
	resumed bool
	took    time.Duration // since the connection was accepted
	err     error
}

// result names the outcome, for people and metrics.
func (h handshake) result() string {
	switch {
	case h.err == nil && h.resumed:
		return "resumed"
	case h.err == nil:
		return "full"
	case errors.Is(h.err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(h.err, io.EOF):
		return "closed" // by the peer
	}
	return "error"
}

// session is one connection. While it is idle, it and what it points to is all
// that there is of it: no job, no buffers.
type session struct {
	srv      *server
	conn     *tls.Conn // nil before the handshake
	accepted time.Time
	version  uint16
	suite    string
	resumed  bool
}

// Serve takes a new connection, which gets no job before its first bytes
// arrive.
func (srv *server) Serve(_ context.Context, c *loop.Conn) error {
	s := &session{srv: srv, accepted: time.Now()}
	if srv.handshakeTimeout > 0 {
		c.SetDeadline(s.accepted.Add(srv.handshakeTimeout))
	}
	return c.Park(s)
}

// Serve is the job of a connection on which something has arrived.
func (s *session) Serve(ctx context.Context, c *loop.Conn) error {
	if s.conn == nil {
		if err := s.handshake(ctx, c); err != nil {
			return err
		}
	}
	err := s.serveHTTP(ctx, c)
	if errors.Is(err, loop.ErrWouldBlock) {
		return err // parks the connection: back here when a request comes
	}
	s.conn.Close() // says goodbye (close_notify)
	return err
}

func (s *session) handshake(ctx context.Context, c *loop.Conn) error {
	var under net.Conn = c
	if s.srv.wrap != nil {
		under = s.srv.wrap(c)
	}
	conn := tls.Server(under, s.srv.tls)
	err := conn.HandshakeContext(ctx)
	state := conn.ConnectionState()
	s.version, s.suite, s.resumed = state.Version, tls.CipherSuiteName(state.CipherSuite), state.DidResume
	if s.srv.onHandshake != nil {
		s.srv.onHandshake(handshake{under, s.version, s.resumed, time.Since(s.accepted), err})
	}
	if err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.conn = conn
	c.SetDeadline(time.Time{})
	s.idle(c)
	return nil
}

// idle sets how long to wait for the next request.
func (s *session) idle(c *loop.Conn) {
	// One deadline for the whole wait, and not one for each byte: a peer that
	// sends a TLS record in small bits does not stay for ever.
	if s.srv.idleTimeout > 0 {
		c.SetReadDeadline(time.Now().Add(s.srv.idleTimeout))
	}
}
