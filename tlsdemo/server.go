package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/loop"
)

// server serves HTTP over TLS on loops. The demo and "tlsdemo serve" share it.
type server struct {
	loop.TLSHandler // one for all loops, so that they resume each other's sessions
	*responder
	loops map[*loop.Loop]int
}

// protocols are what the servers offer by ALPN.
var protocols = []string{"http/1.1", "http/1.0"}

// newServer returns a server for the loops. It completes the TLS configuration.
func newServer(r *responder, loops []*loop.Loop, config *tls.Config) *server {
	config.NextProtos = protocols
	srv := &server{responder: r, loops: make(map[*loop.Loop]int)}
	srv.Config, srv.Handler = config, srv.serve
	for i, l := range loops {
		srv.loops[l] = i
	}
	// The first response of the process makes fasthttp start a goroutine, which
	// keeps the time for Date headers. Start it here and not in a job.
	new(fasthttp.Response).WriteTo(io.Discard)
	return srv
}

// tlsConn is a *loop.TLSConn or a *tls.Conn.
type tlsConn interface {
	ConnectionState() tls.ConnectionState
}

// result names the outcome of a handshake, for people and metrics.
func result(c tlsConn, err error) string {
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

// session is what the answers say about a connection. The server on loops keeps it
// as the connection's value. An idle connection has nothing else there: no job and
// no buffers.
type session struct {
	version uint16
	suite   string
	resumed bool
}

func newSession(c tlsConn) *session {
	state := c.ConnectionState()
	return &session{state.Version, tls.CipherSuiteName(state.CipherSuite), state.DidResume}
}

// serve is the job of a connection. It runs after the handshake, and again when a
// request comes on an idle connection.
func (srv *server) serve(ctx context.Context, c *loop.TLSConn) error {
	s, ok := c.Value().(*session)
	if !ok {
		s = newSession(c)
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
