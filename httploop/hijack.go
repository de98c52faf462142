package httploop

import (
	"context"
	"net"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/loop"
)

// HijackHandler gets a connection that speaks another protocol from now on. It runs in
// the job of the request. When it returns, the connection is closed, unless it has been
// parked or detached.
type HijackHandler func(ctx context.Context, c *HijackedConn) error

type hijackKey struct{}

// Hijack makes h take over the connection when the request's handler has returned. The
// response that the handler has made is sent first, such as 101 Switching Protocols. The
// RequestCtx cannot be used in h.
func Hijack(rc *fasthttp.RequestCtx, h HijackHandler) { rc.SetUserValue(hijackKey{}, h) }

// HijackedConn is a connection that a HijackHandler has taken over. It reads first what
// the client has sent behind its request. Its methods are for the job.
type HijackedConn struct {
	net.Conn // a *loop.Conn or a *loop.TLSConn, with the rules of those, and the value of SetValue
	ahead    []byte
}

// Read reads into p.
func (c *HijackedConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Readable reports whether a Read would return at once, with bytes, the peer's end, or an
// error.
func (c *HijackedConn) Readable() bool {
	lc, ok := c.Conn.(conn)
	return len(c.ahead) > 0 || ok && lc.Readable()
}

// Park keeps the connection open without a job after h has returned, until there is
// something to read: see loop.Conn.Park. Then h is called. First use up what there is to
// read, as long as Readable returns true. Park always returns nil.
func (c *HijackedConn) Park(h HijackHandler) error {
	switch lc := c.Conn.(type) {
	case *loop.TLSConn:
		lc.Park(func(ctx context.Context, _ *loop.TLSConn) error { return h(ctx, c) })
	case *loop.Conn:
		lc.Park(loop.HandlerFunc(func(ctx context.Context, _ *loop.Conn) error { return h(ctx, c) }))
	}
	return nil
}

// Detach takes the connection off the loop, as loop.Conn.Detach and TLSConn.Detach do.
// The connection that it returns may be used by any goroutine.
func (c *HijackedConn) Detach() (net.Conn, error) {
	var nc net.Conn
	var err error
	switch lc := c.Conn.(type) {
	case *loop.TLSConn:
		nc, err = lc.Detach()
	case *loop.Conn:
		nc, err = lc.Detach()
	default:
		err = net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	if len(c.ahead) > 0 {
		return &detached{nc, c.ahead}, nil
	}
	return nc, nil
}

// detached is a connection of package net that reads first what is ahead.
type detached struct {
	net.Conn
	ahead []byte
}

func (c *detached) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
