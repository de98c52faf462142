package httploop

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/loop"
)

// server is a Server with its defaults.
type server struct{ Server }

// conn is a *loop.Conn or a *loop.TLSConn.
type conn interface {
	net.Conn
	Loop() *loop.Loop
	Readable() bool
	Value() any
	SetValue(any)
}

// idle is what a connection keeps between requests, as its value.
type idle struct{ requests int }

func (s *server) servePlain(ctx context.Context, c *loop.Conn) error {
	return s.serve(ctx, c, func() error { return c.Park(nil) })
}

func (s *server) serveTLS(ctx context.Context, c *loop.TLSConn) error {
	return s.serve(ctx, c, func() error { return c.Park(nil) })
}

// serve is the job of a connection. It runs when the connection is new, and again when a
// request comes. It answers requests until there are none left, and parks the connection.
func (s *server) serve(ctx context.Context, c conn, park func() error) error {
	state, ok := c.Value().(*idle)
	if !ok {
		state = new(idle)
		c.SetValue(state)
		s.wait(c)
	}
	if !c.Readable() {
		return park()
	}
	x := http1.NewExchange(c)
	defer x.Release()
	x.Ctx.Init2(c, nil, true)
	for {
		if err := x.Wait(); err != nil {
			return goodbye(err)
		}
		if t := s.RequestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		state.requests++
		more, err := s.answer(ctx, c, x, state)
		if err != nil || !more {
			return err
		}
		s.wait(c)
		if x.Buffered() || c.Readable() {
			continue
		}
		if err := x.Flush(); err != nil {
			return err
		}
		return park()
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
func (s *server) answer(ctx context.Context, c conn, x *http1.Exchange, state *idle) (more bool, err error) {
	if err := x.ReadRequest(s.MaxBody, s.StreamBody); err != nil {
		if !x.Refuse(err) {
			return false, goodbye(err)
		}
		return false, x.Respond(true)
	}
	x.Resp.Reset()
	x.Ctx.ResetUserValues()
	x.Ctx.SetUserValue(contextKey{}, ctx)
	s.Handler(&x.Ctx)
	if h, ok := x.Ctx.UserValue(hijackKey{}).(HijackHandler); ok {
		return false, s.hijack(ctx, c, x, h)
	}
	streams := x.Resp.IsBodyStream() // perhaps of what it reads from the request's body
	if !streams {
		x.EndBody()
	}
	last := x.Last() || x.Resp.ConnectionClose() || c.Loop().ShuttingDown() ||
		s.MaxRequests > 0 && state.requests >= s.MaxRequests
	if err := x.Respond(last); err != nil || last {
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

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, loop.ErrShutdown) {
		return nil
	}
	return err
}
