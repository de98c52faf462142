package httploop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/loop"
)

// server is a Server with its defaults.
type server struct {
	Server
	exchanges *http1.Pool
	fresh     func() // to be called when there is a new connection
}

// conn is a *loop.Conn or a *loop.TLSConn.
type conn interface {
	net.Conn
	Loop() *loop.Loop
	Readable() bool
}

// connState is what a connection keeps between requests.
type connState struct {
	s        *server
	c        conn
	park     func() error // waits for the next request
	requests int
}

// servePlain is the first job of a connection without TLS.
func (s *server) servePlain(ctx context.Context, c *loop.Conn) error {
	s.fresh()
	state := &connState{s: s, c: c}
	h := loop.HandlerFunc(func(ctx context.Context, _ *loop.Conn) error { return state.serve(ctx) })
	state.park = func() error { return c.Park(h) }
	return state.begin(ctx)
}

// serveTLS is the first job of a connection with TLS.
func (s *server) serveTLS(ctx context.Context, c *loop.TLSConn) error {
	state := &connState{s: s, c: c}
	h := func(ctx context.Context, _ *loop.TLSConn) error { return state.serve(ctx) }
	state.park = func() error { return c.Park(h) }
	return state.begin(ctx)
}

func (cs *connState) begin(ctx context.Context) error {
	cs.wait()
	return cs.serve(ctx)
}

// serve is the job of a connection. It runs when the connection is new, and again when a
// request comes. It answers requests until there are none left, and parks the connection.
func (cs *connState) serve(ctx context.Context) error {
	if !cs.c.Readable() {
		return cs.park()
	}
	after, hijacked, err := cs.withExchange(ctx)
	switch {
	case err != nil || after == end:
		cs.c.Close() // even if the handler has parked it behind our back
		return err
	case after == hijack:
		cs.c.SetReadDeadline(time.Time{})
		return hijacked.run(ctx)
	}
	return cs.park()
}

// withExchange answers requests. It has buffers for that.
func (cs *connState) withExchange(ctx context.Context) (after outcome, hijacked *HijackedConn, err error) {
	x := cs.s.exchanges.Get(cs.c)
	panicked := true
	defer func() {
		if panicked {
			x.Abandon()
		} else {
			x.Release()
		}
	}()
	x.Ctx.Init2(cs.c, (*requestLog)(cs.c.Loop().Logger()), true)
	after, err = cs.answerAll(ctx, x)
	if after == hijack && err == nil {
		hijacked = &HijackedConn{Conn: cs.c, ahead: x.Ahead()}
		hijacked.next = x.Ctx.UserValue(hijackKey{}).(HijackHandler)
	}
	panicked = false
	return after, hijacked, err
}

// requestLog is what RequestCtx.Logger logs to: the loop's logger, which does not wait.
type requestLog slog.Logger

func (l *requestLog) Printf(format string, args ...any) {
	(*slog.Logger)(l).Info(fmt.Sprintf(format, args...))
}

// outcome is what becomes of a connection after a request.
type outcome int

const (
	end    outcome = iota // it is closed
	more                  // there may be another request
	park                  // there is none yet
	hijack                // it speaks another protocol
)

// answerAll answers requests until there are none left.
func (cs *connState) answerAll(ctx context.Context, x *http1.Exchange) (outcome, error) {
	for {
		if err := x.Wait(); err != nil {
			return end, goodbye(err)
		}
		if t := cs.s.RequestTimeout; t > 0 {
			cs.c.SetReadDeadline(time.Now().Add(t))
		}
		cs.requests++
		after, err := cs.answer(ctx, x)
		if err != nil || after != more {
			return after, err
		}
		cs.wait()
		if x.Buffered() || cs.c.Readable() {
			continue
		}
		return park, x.Flush()
	}
}

// wait sets the deadline for the next request.
func (cs *connState) wait() {
	if t := cs.s.IdleTimeout; t > 0 {
		cs.c.SetReadDeadline(time.Now().Add(t))
	} else {
		cs.c.SetReadDeadline(time.Time{})
	}
}

// answer reads a request and answers it. If there may be more, the response may still be
// in x's buffer.
func (cs *connState) answer(ctx context.Context, x *http1.Exchange) (outcome, error) {
	s := cs.s
	err := x.ReadRequest(s.MaxBody, s.StreamBody)
	x.Ctx.SetUserValue(contextKey{}, ctx)
	if err != nil {
		if !x.Refuse(err) {
			return end, goodbye(err)
		}
		return end, s.respond(x, true)
	}
	if s.TLS != nil {
		x.Ctx.URI().SetScheme("https") // for Redirect, and whatever else makes addresses
	}
	if err := x.Flush(); err != nil { // earlier responses: the handler may pause, or panic
		return end, err
	}
	x.Resp.Reset()
	x.Ctx.SetRemoteAddr(nil) // what the last request's handler has set
	s.Handler(&x.Ctx)
	switch {
	case x.Ctx.Hijacked():
		panic("httploop: the handler has called RequestCtx.Hijack; use httploop.Hijack")
	case x.Ctx.LastTimeoutErrorResponse() != nil:
		panic("httploop: the handler has called RequestCtx.TimeoutError, which does not work here")
	case x.Ctx.UserValue(hijackKey{}) != nil:
		ended := x.EndBody()
		s.watch(x)
		if err := x.RespondRaw(); err != nil || !ended {
			return end, err
		}
		return hijack, nil
	case x.Resp.StatusCode() < fasthttp.StatusOK:
		return end, s.respond(x, true) // a client would wait for another response
	}
	streams := x.Resp.IsBodyStream() // perhaps of what it reads from the request's body
	last := x.Last() || cs.c.Loop().ShuttingDown() || s.MaxRequests > 0 && cs.requests >= s.MaxRequests
	if !last && !streams {
		last = !x.EndBody()
	}
	s.watch(x)
	last = last || x.Resp.ConnectionClose()
	if err := x.Respond(last); err != nil || last {
		return end, err
	}
	if streams && !x.EndBody() || x.Last() { // too late to say so
		return end, x.Flush()
	}
	return more, nil
}

func (s *server) respond(x *http1.Exchange, last bool) error {
	s.watch(x)
	return x.Respond(last)
}

func (s *server) watch(x *http1.Exchange) {
	if on := s.OnResponse; on != nil {
		on(&x.Ctx)
	}
}

// contextKey is the user value with the job's context.
type contextKey struct{}

// Context returns the context of the job in which a request is answered, for loop.Dial
// and whatever else has to wait. It is never done.
func Context(rc *fasthttp.RequestCtx) context.Context {
	ctx, ok := rc.UserValue(contextKey{}).(context.Context)
	if !ok {
		return rc
	}
	return ctx
}

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, loop.ErrShutdown) {
		return nil
	}
	return err
}
