package gnetjobs

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// handler is what gnet calls. It hands each event to the connection it is of,
// and the connection calls the handler that was wrapped.
type handler struct {
	gnet.EventHandler // the one that was wrapped
	opts              Options
	cfg               *tls.Config // nil: no TLS
	client            bool
	hosts             sync.Map // gnet.EventLoop to *host, asked once for each connection
}

func newHandler(name string, inner gnet.EventHandler, opts Options) *handler {
	if inner == nil {
		panic("gnetjobs: " + name + ": handler is nil")
	}
	return &handler{EventHandler: inner, opts: opts.withDefaults()}
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		d   *time.Duration
		def time.Duration
	}{
		{&o.HandshakeTimeout, 10 * time.Second},
		{&o.WriteTimeout, 30 * time.Second},
		{&o.IdleTimeout, 2 * time.Minute},
		{&o.LingerTimeout, 5 * time.Second},
		{&o.MaxWait, 100 * time.Millisecond},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
		*f.d = max(*f.d, 0) // from here on, 0 is no bound, no lingering, nobody turned away
	}
	for _, f := range []struct {
		n   *int
		def int
	}{
		{&o.MaxInbound, 4 << 20},
		{&o.MaxOutbound, 16 << 20},
		{&o.MaxJobs, 10_000},
	} {
		if *f.n == 0 {
			*f.n = f.def
		}
		*f.n = max(*f.n, 0)
	}
	if o.MaxHandshakes == 0 && o.MaxJobs > 0 {
		o.MaxHandshakes = max(o.MaxJobs/4*3+o.MaxJobs%4*3/4, 1) // in two steps, not to overflow
	}
	o.MaxHandshakes = max(o.MaxHandshakes, 0)
	return o
}

// OnOpen is told by gnet that there is a connection.
func (h *handler) OnOpen(raw gnet.Conn) ([]byte, gnet.Action) {
	if _, ok := raw.LocalAddr().(*net.UDPAddr); ok { // a client's
		if d, ok := raw.Context().(*dialing); ok {
			raw.SetContext(d.ctx)
		}
		return h.EventHandler.OnOpen(raw)
	}
	c := newConn(h, raw)
	c.host.enter(c, false)
	c.begin()
	return nil, c.host.leave()
}

// OnTraffic is told by gnet that bytes have come.
func (h *handler) OnTraffic(raw gnet.Conn) gnet.Action {
	c, ok := raw.Context().(*conn)
	if !ok { // a datagram
		return h.EventHandler.OnTraffic(raw)
	}
	c.host.enter(c, true)
	c.arrived()
	return c.host.leave()
}

// OnClose is told by gnet that it closes the connection, whoever wanted that.
func (h *handler) OnClose(raw gnet.Conn, err error) gnet.Action {
	c, ok := raw.Context().(*conn)
	if !ok {
		return h.EventHandler.OnClose(raw, err)
	}
	c.host.enter(c, true)
	c.closedByGnet(err)
	return c.host.leave()
}

// OnShutdown is told by gnet that the event loops are going to end.
func (h *handler) OnShutdown(eng gnet.Engine) {
	h.hosts.Clear() // the connections that are left know their hosts
	h.EventHandler.OnShutdown(eng)
}
