package httploop

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/loop"
)

// HijackHandler gets a connection that speaks another protocol from now on. It runs in a
// job of the connection's loop. When it returns, the connection is closed, unless it has
// been parked or detached.
type HijackHandler func(ctx context.Context, c *HijackedConn) error

type hijackKey struct{}

// Hijack makes h take over the connection when the request's handler has returned. The
// response that the handler has made is sent first, such as 101 Switching Protocols. The
// RequestCtx cannot be used in h. If the handler has left more than 256 KB of a body that
// is streamed, the connection is closed instead.
func Hijack(rc *fasthttp.RequestCtx, h HijackHandler) {
	if h == nil {
		panic("httploop: Hijack with a nil handler")
	}
	rc.SetUserValue(hijackKey{}, h)
}

// HijackedConn is a connection that a HijackHandler has taken over. It reads first what
// the client has sent behind its request. Its methods are for the job.
type HijackedConn struct {
	net.Conn // a *loop.Conn or a *loop.TLSConn, with the rules of those
	ahead    ahead
	handler  HijackHandler // that runs
	next     HijackHandler // given to Park
}

// Loop returns the loop the connection belongs to.
func (c *HijackedConn) Loop() *loop.Loop { return c.Conn.(conn).Loop() }

// ahead is what the client has sent behind its request.
type ahead []byte

func (a *ahead) read(p []byte) int {
	n := copy(p, *a)
	if *a = (*a)[n:]; len(*a) == 0 {
		*a = nil // a connection that is parked keeps no buffer
	}
	return n
}

// Read reads into p.
func (c *HijackedConn) Read(p []byte) (int, error) {
	if n := c.ahead.read(p); n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// Readable reports whether a Read would return at once, with bytes, the peer's end, or an
// error.
func (c *HijackedConn) Readable() bool {
	return len(c.ahead) > 0 || c.Conn.(conn).Readable()
}

// Park keeps the connection open without a job after the handler has returned. When there
// is something to read, h is called in a new job, or if h is nil the running handler: see
// loop.Conn.Park, whose rules apply. Park always returns nil, so that a handler can end
// with it.
func (c *HijackedConn) Park(h HijackHandler) error {
	if c.next = h; h == nil {
		c.next = c.handler
	}
	return nil
}

var errUnread = errors.New("httploop: a hijacked connection was parked, but there was something to read that has not been read")

// run calls the handler, and parks the connection if the handler wants that.
func (c *HijackedConn) run(ctx context.Context) error {
	for {
		left := len(c.ahead)
		c.handler, c.next = c.next, nil
		if err := c.handler(ctx, c); err != nil || c.next == nil {
			return err
		}
		switch {
		case len(c.ahead) == 0:
			return c.park()
		case len(c.ahead) == left:
			return errUnread // it would never end
		}
	}
}

func (c *HijackedConn) park() error {
	switch lc := c.Conn.(type) {
	case *loop.TLSConn:
		return lc.Park(func(ctx context.Context, _ *loop.TLSConn) error { return c.run(ctx) })
	case *loop.Conn:
		return lc.Park(loop.HandlerFunc(func(ctx context.Context, _ *loop.Conn) error { return c.run(ctx) }))
	}
	return nil
}

// Detach takes the connection off the loop, as loop.Conn.Detach and TLSConn.Detach do.
// What it returns may be used by any goroutine. It also has the methods CloseWrite, and
// NetConn for the *tls.Conn, *net.TCPConn or *net.UnixConn below, which does not have what
// the client has sent behind its request.
func (c *HijackedConn) Detach() (net.Conn, error) {
	var nc net.Conn
	var err error
	switch lc := c.Conn.(type) {
	case *loop.TLSConn:
		nc, err = lc.Detach()
	case *loop.Conn:
		nc, err = lc.Detach()
	}
	if err != nil {
		return nil, err
	}
	d := &detachedConn{Conn: nc, ahead: c.ahead}
	c.ahead = nil
	return d, nil
}

// detachedConn is a connection of package net that reads first what is ahead.
type detachedConn struct {
	net.Conn
	mu    sync.Mutex
	ahead ahead
}

func (c *detachedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	n := c.ahead.read(p)
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *detachedConn) NetConn() net.Conn { return c.Conn }

func (c *detachedConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite() // all of these types have it
}
