// Package httploop serves HTTP/1.1 on event loops, over TLS or plain, with the request
// and response types of fasthttp.
//
//	server := &httploop.Server{Handler: func(rc *fasthttp.RequestCtx) {
//		fmt.Fprintf(rc, "hello %s\n", rc.Path())
//	}}
//	h, err := server.LoopHandler()
//	...
//	_, err = group.Listen("tcp", ":8080", h)
//	...
//	err = group.Run(ctx)
//
// A request is answered in a job of its connection's loop. Where the handler has to
// wait, it pauses: with loop.Dial, loop.Sleep or loop.Await, which want the job's context
// (see [Context]). What blocks the thread blocks all connections of the loop. Between
// requests, a connection has no job and no buffers. A handler must not use its RequestCtx
// after it has returned.
//
// fasthttp's own server is not used, and what belongs to it does not work. For
// RequestCtx.Hijack there is [Hijack] here. It and RequestCtx.TimeoutError panic when the
// handler has returned. Response.SetBodyStream works: the stream is read in the job, as
// fast as the client takes it. Streams that a goroutine of their own writes block the
// loop: those of SetBodyStreamWriter, and of fasthttp.CompressHandler. RequestCtx.Time,
// ConnTime, ConnID, ConnRequestTime and ConnRequestNum have no meaning. Trailers of
// requests are skipped. RequestCtx.Logger logs to the loop's Config.Logger, at level info.
//
// RequestCtx.Conn is the *loop.Conn, or the *loop.TLSConn if there is TLS. Its addresses,
// its state and its value (SetValue) are for the handler, and nothing else is.
//
// Go keeps memory that handshakes have used, more than idle connections need: see
// Server.FreeMemory.
//
// # Which requests are refused
//
// Requests are read as net/http reads them. Where RFC 9112 leaves it to the server and
// two servers in a row could understand a request differently, it is refused: bare line
// feeds, a field in several lines, a length given twice. After a request with both
// Content-Length and Transfer-Encoding the connection is closed. CONNECT is answered
// with 501, and a request line and header of more than Server.MaxHeader with 431. HTTP/2
// is not spoken: see loop.ListenTLS.
package httploop

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/internal/memory"
	"github.com/jobloop/jobloop/internal/plainhttp"
	"github.com/jobloop/jobloop/loop"
)

// Server configures how requests are served. Handler is required; for all others the
// zero value is a good choice. A Server must not be changed after LoopHandler.
type Server struct {
	// Handler answers a request, inside a job. If it panics, the panic is logged by the
	// loop, and the connection is closed.
	Handler fasthttp.RequestHandler

	// TLS is the server's configuration; nil means plain HTTP. If its NextProtos is
	// empty, LoopHandler uses a copy that offers http/1.1.
	TLS *tls.Config

	// HandshakeTimeout is that of loop.TLSHandler.
	HandshakeTimeout time.Duration

	// RequestTimeout bounds the time from a request's first byte to the last that is
	// read of it; 0 means a minute, negative no limit except loop.Config.IdleTimeout for
	// each read. It is for a body that is streamed, too. A handler that expects a long one
	// gives it more time with SetReadDeadline of RequestCtx.Conn.
	RequestTimeout time.Duration

	// IdleTimeout bounds the wait for the next request; 0 means a minute, negative no
	// limit except loop.Config.IdleTimeout. It is for the whole wait, not for each byte.
	IdleTimeout time.Duration

	// MaxHeader is the most bytes of a request line and header, together: 1 KiB to 1 MiB,
	// and 0 means 8 KiB. Larger ones are answered with 431. A request that
	// is being read or answered has a buffer of this size.
	MaxHeader int

	// MaxBody is the most bytes of a request's body; 0 means 4 MiB. Larger ones are
	// answered with 413. With StreamBody it does not apply.
	MaxBody int

	// StreamBody leaves bodies to the handler, which reads RequestCtx.RequestBodyStream
	// if that is not nil, as they arrive.
	StreamBody bool

	// MaxRequests is how many requests a connection may make; 0 means no limit.
	MaxRequests int

	// FreeMemory, if positive, gives the memory that the process does not use back to the
	// system, by debug.FreeOSMemory, when no TLS handshake has begun or ended for this
	// long (without TLS: no connection has come). Go does not do that while nothing
	// happens. Measured, 10,000 idle connections then need 5.3 KB each and not 8.5. All of
	// the heap is looked through, so it is for processes that do little else. 2 s is a
	// good value, and 0 means never.
	FreeMemory time.Duration

	// OnHello, OnHandshake and OnClose may be nil. They are those of loop.TLSHandler.
	OnHello     func(c *loop.TLSConn)
	OnHandshake func(c *loop.TLSConn, took time.Duration, err error)
	OnClose     func(c *loop.TLSConn)

	// OnResponse, if not nil, is called in the job before a response is sent, for logs
	// and metrics. It is also called for requests that are refused; then rc.Request may be
	// incomplete. It is not called for the answer to HTTP on the TLS port.
	OnResponse func(rc *fasthttp.RequestCtx)
}

const (
	defaultTimeout = time.Minute
	defaultMaxBody = 4 << 20
	leastHeader    = 1 << 10
	mostHeader     = 1 << 20
)

// LoopHandler returns the handler for Loop.Listen, Group.Listen and Loop.Attach. It may
// serve any number of listeners and loops.
func (s *Server) LoopHandler() (loop.Handler, error) { return s.loopHandler(memory.Returner) }

// loopHandler is LoopHandler. freeing returns what is called when there is a new
// connection.
func (s *Server) loopHandler(freeing func(quiet time.Duration) func()) (loop.Handler, error) {
	switch {
	case s.Handler == nil:
		return nil, errors.New("httploop: Server without Handler")
	case s.MaxHeader != 0 && (s.MaxHeader < leastHeader || s.MaxHeader > mostHeader):
		return nil, fmt.Errorf("httploop: Server.MaxHeader is %d, not in %d to %d", s.MaxHeader, leastHeader, mostHeader)
	case s.MaxBody < 0:
		return nil, errors.New("httploop: Server.MaxBody is negative")
	case s.MaxRequests < 0:
		return nil, errors.New("httploop: Server.MaxRequests is negative")
	case s.FreeMemory < 0:
		return nil, errors.New("httploop: Server.FreeMemory is negative")
	case s.TLS != nil && slices.Contains(s.TLS.NextProtos, "h2"):
		return nil, errors.New("httploop: Server.TLS.NextProtos offers h2, which is not spoken here")
	}
	// The first response of the process makes fasthttp start a goroutine, which keeps
	// the time for Date headers. Start it here and not in a job.
	new(fasthttp.Response).WriteTo(io.Discard)
	srv := &server{Server: *s, exchanges: http1.NewPool(cmp.Or(s.MaxHeader, http1.DefaultHeader)), fresh: func() {}}
	if s.FreeMemory > 0 {
		srv.fresh = freeing(s.FreeMemory)
	}
	for _, t := range []*time.Duration{&srv.RequestTimeout, &srv.IdleTimeout} {
		if *t == 0 {
			*t = defaultTimeout
		}
	}
	srv.MaxBody = cmp.Or(s.MaxBody, defaultMaxBody)
	if s.TLS == nil {
		return loop.HandlerFunc(srv.servePlain), nil
	}
	if len(srv.TLS.NextProtos) == 0 {
		srv.TLS = srv.TLS.Clone()
		srv.TLS.NextProtos = []string{"http/1.1"}
	}
	return &loop.TLSHandler{
		Config: srv.TLS, HandshakeTimeout: s.HandshakeTimeout, Handler: srv.serveTLS, OnClose: s.OnClose,
		OnHello: func(c *loop.TLSConn) {
			srv.fresh()
			if on := srv.OnHello; on != nil {
				on(c)
			}
		},
		OnHandshake: func(c *loop.TLSConn, took time.Duration, err error) {
			srv.fresh()
			if on := srv.OnHandshake; on != nil {
				on(c, took, err)
			}
			plainhttp.Answer(err) // last: who has the answer can rely on what was counted
		},
	}, nil
}
