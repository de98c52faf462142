package gnetjobs

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// handler is the handler that gnet calls. It passes each event to its connection,
// and the connection calls the wrapped handler.
type handler struct {
	gnet.EventHandler // the wrapped handler
	opts              Options
	cfg               *tls.Config // nil: no TLS
	client            bool
	hosts             sync.Map // gnet.EventLoop to *host, looked up once for each connection
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
		*f.d = max(*f.d, 0) // from here on, 0 means no limit, no lingering, nobody turned away
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

// OnOpen is called by gnet when it has opened a connection.
func (h *handler) OnOpen(raw gnet.Conn) ([]byte, gnet.Action) {
	if _, ok := raw.LocalAddr().(*net.UDPAddr); ok { // a client's UDP socket
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

// OnTraffic is called by gnet when bytes have arrived.
func (h *handler) OnTraffic(raw gnet.Conn) gnet.Action {
	c, ok := raw.Context().(*conn)
	if !ok { // a datagram
		return h.EventHandler.OnTraffic(raw)
	}
	c.host.enter(c, true)
	c.arrived()
	return c.host.leave()
}

// OnClose is called by gnet when it closes the connection, for whatever reason.
func (h *handler) OnClose(raw gnet.Conn, err error) gnet.Action {
	c, ok := raw.Context().(*conn)
	if !ok {
		return h.EventHandler.OnClose(raw, err)
	}
	c.host.enter(c, true)
	c.closedByGnet(err)
	return c.host.leave()
}

// OnShutdown is called by gnet when the event loops are about to end.
func (h *handler) OnShutdown(eng gnet.Engine) {
	h.hosts.Clear() // remaining connections have their own reference to their host
	h.EventHandler.OnShutdown(eng)
}
