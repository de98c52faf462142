package httploop

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"time"

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
	Value() any
	SetValue(any)
}

func (s *server) servePlain(ctx context.Context, c *loop.Conn) error {
	if c.Value() == nil {
		s.fresh()
	}
	return s.serve(ctx, c, func() error { return c.Park(nil) })
}

func (s *server) serveTLS(ctx context.Context, c *loop.TLSConn) error {
	return s.serve(ctx, c, func() error { return c.Park(nil) })
}

// serve is the job of a connection. It runs when the connection is new, and again when a
// request comes. It answers requests until there are none left, and parks the connection.
func (s *server) serve(ctx context.Context, c conn, park func() error) error {
	state, ok := c.Value().(*connState)
	if !ok {
		state = &connState{value: c.Value()}
		c.SetValue(state)
		s.wait(c)
	}
	if !c.Readable() {
		return park()
	}
	x := s.exchanges.Get(c)
	x.Ctx.Init2(c, log.Default(), true)
	next, err := s.answerAll(ctx, c, x, state)
	x.Release()
	switch {
	case err != nil:
		return err
	case next.hijack != nil:
		c.SetReadDeadline(time.Time{})
		c.SetValue(state.value) // it belongs to the user now
		return next.hijack(ctx, &HijackedConn{c, next.ahead})
	case next.park:
		return park()
	}
	return nil
}

// next is what becomes of a connection after some requests. The zero value closes it.
type next struct {
	park   bool
	hijack HijackHandler
	ahead  []byte // what has been read behind the last request
}

// answerAll answers requests until there are none left.
func (s *server) answerAll(ctx context.Context, c conn, x *http1.Exchange, state *connState) (next, error) {
	for {
		if err := x.Wait(); err != nil {
			return next{}, goodbye(err)
		}
		if t := s.RequestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		state.requests++
		more, err := s.answer(ctx, c, x, state)
		if err != nil || !more {
			return next{}, err
		}
		if h, ok := x.Ctx.UserValue(hijackKey{}).(HijackHandler); ok {
			return next{hijack: h, ahead: x.Ahead()}, nil
		}
		s.wait(c)
		if x.Buffered() || c.Readable() {
			continue
		}
		return next{park: true}, x.Flush()
	}
}

// wait sets the deadline for the next request.
func (s *server) wait(c conn) {
	if s.IdleTimeout > 0 {
		c.SetReadDeadline(time.Now().Add(s.IdleTimeout))
	} else {
		c.SetReadDeadline(time.Time{})
	}
}

// answer reads a request and answers it. If there may be more, the response may still be
// in x's buffer.
func (s *server) answer(ctx context.Context, c conn, x *http1.Exchange, state *connState) (more bool, err error) {
	err = x.ReadRequest(s.MaxBody, s.StreamBody)
	x.Ctx.SetUserValue(contextKey{}, ctx)
	x.Ctx.SetUserValue(stateKey{}, state)
	if err != nil {
		if !x.Refuse(err) {
			return false, goodbye(err)
		}
		return false, s.respond(x, true)
	}
	x.Resp.Reset()
	s.Handler(&x.Ctx)
	if x.Ctx.UserValue(hijackKey{}) != nil {
		x.EndBody()
		s.watch(x)
		return true, x.RespondRaw()
	}
	streams := x.Resp.IsBodyStream() // perhaps of what it reads from the request's body
	if !streams {
		x.EndBody()
	}
	last := x.Last() || x.Resp.ConnectionClose() || c.Loop().ShuttingDown() ||
		s.MaxRequests > 0 && state.requests >= s.MaxRequests
	if err := s.respond(x, last); err != nil || last {
		return false, err
	}
	if streams {
		x.EndBody()
	}
	if x.Last() { // too late to say so
		return false, x.Flush()
	}
	return true, nil
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

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, loop.ErrShutdown) {
		return nil
	}
	return err
}
