package httploop

import (
	"context"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/loop"
)

// HijackHandler gets a connection that speaks another protocol from now on. It runs in
// the job of the request. When it returns, the connection is closed, unless it has been
// detached.
type HijackHandler func(ctx context.Context, c *HijackedConn) error

type hijackKey struct{}

// Hijack makes h take over the connection when the request's handler has returned. The
// response that the handler has made is sent first, such as 101 Switching Protocols.
func Hijack(rc *fasthttp.RequestCtx, h HijackHandler) { rc.SetUserValue(hijackKey{}, h) }

// HijackedConn is a connection that a HijackHandler has taken over. It reads first what
// the client has sent behind its request. Its methods are for the job.
type HijackedConn struct {
	net.Conn // a *loop.Conn or a *loop.TLSConn, with the rules of those
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
	}
	if err != nil {
		return nil, err
	}
	if len(c.ahead) > 0 {
		return &HijackedConn{nc, c.ahead}, nil
	}
	return nc, nil
}

// hijack sends the response and runs h.
func (s *server) hijack(ctx context.Context, c conn, x *http1.Exchange, h HijackHandler) error {
	if err := x.RespondRaw(); err != nil {
		return err
	}
	c.SetReadDeadline(time.Time{})
	return h(ctx, &HijackedConn{c, x.Ahead()})
}
