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

// server is what the demo and serve have in common: HTTP over TLS on loops.
type server struct {
	loop.TLSHandler // one for all loops: they resume each other's sessions
	loops           map[*loop.Loop]int

	closing atomic.Bool // each connection gets one more answer

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

// session is what the server knows of a connection, its value. While it is idle
// that and the connection itself is all that there is of it: no job, no buffers.
type session struct {
	version uint16
	suite   string
	resumed bool
}

// serve is the job of a connection after its handshake, and whenever a request
// has come.
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

// idle sets how long to wait for the next request.
func (srv *server) idle(c *loop.TLSConn) {
	// One deadline for the whole wait, and not one for each byte: a peer that
	// sends a TLS record in small bits does not stay for ever.
	if srv.idleTimeout > 0 {
		c.SetReadDeadline(time.Now().Add(srv.idleTimeout))
	}
}
