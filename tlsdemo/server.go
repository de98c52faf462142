package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// server serves HTTP over TLS on loops. The demo and "tlsdemo serve" share it.
type server struct {
	loop.TLSHandler // one for all loops, so that they resume each other's sessions
	loops           map[*loop.Loop]int

	closing atomic.Bool // each connection gets at most one more answer

	requestTimeout time.Duration // from the first byte of a request to its last
	idleTimeout    time.Duration // from one request to the next

	onResponse func(code int)
}

// result names the outcome of a handshake, for people and metrics.
func result(c *loop.TLSConn, err error) string {
	switch {
	case err == nil && c.ConnectionState().DidResume:
		return "resumed"
	case err == nil:
		return "full"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed" // by the peer
	case errors.Is(err, loop.ErrOverloaded):
		return "shed"
	case errors.Is(err, loop.ErrClientGone):
		return "gone"
	}
	return "error"
}

// session is what the server keeps for a connection, as its value. An idle
// connection has nothing else: no job and no buffers.
type session struct {
	version uint16
	suite   string
	resumed bool
}

// serve is the job of a connection. It runs after the handshake, and again when a
// request comes on an idle connection.
func (srv *server) serve(ctx context.Context, c *loop.TLSConn) error {
	s, ok := c.Value().(*session)
	if !ok {
		state := c.ConnectionState()
		s = &session{state.Version, tls.CipherSuiteName(state.CipherSuite), state.DidResume}
		c.SetValue(s)
		srv.idle(c)
	}
	return srv.serveHTTP(ctx, c, s)
}

// idle sets the deadline for the next request.
func (srv *server) idle(c *loop.TLSConn) {
	// The deadline is for the whole wait, not for each byte. A peer that sends a
	// TLS record in small pieces cannot stay for ever.
	if srv.idleTimeout > 0 {
		c.SetReadDeadline(time.Now().Add(srv.idleTimeout))
	}
}
