package gnetjobs

import (
	"context"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// eventLoop is the gnet.EventLoop that a handler sees. It works with the
// connections that the handler sees.
type eventLoop struct {
	gnet.EventLoop
}

// EventLoop returns the connection's event loop. It may be called from any
// goroutine.
func (c *conn) EventLoop() gnet.EventLoop { return eventLoop{c.host.loop} }

// Close closes c after the callback in progress has returned. It is for the event
// loop's goroutine.
func (l eventLoop) Close(c gnet.Conn) error {
	w, ok := c.(*conn)
	if !ok {
		return ErrNotWrapped
	}
	w.shut(nil)
	return nil
}

// Register is gnet's Register. The result comes when the handshake has ended.
func (l eventLoop) Register(ctx context.Context, addr net.Addr) (<-chan gnet.RegisteredResult, error) {
	d := newDialing(gnet.FromContext(ctx))
	return d.results(l.EventLoop.Register(gnet.NewContext(ctx, d), addr))
}

// Enroll is gnet's Enroll. The result comes when the handshake has ended.
func (l eventLoop) Enroll(ctx context.Context, nc net.Conn) (<-chan gnet.RegisteredResult, error) {
	d := newDialing(gnet.FromContext(ctx))
	return d.results(l.EventLoop.Enroll(gnet.NewContext(ctx, d), nc))
}
