package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jobloop/jobloop/internal/plainhttp"
)

// A net.Listener whose connections come from loops: for net/http and all other servers
// that have a goroutine for each connection.

// ListenTLS is tls.Listen with the handshakes on event loops. A client that connects
// costs neither a goroutine nor a job before its first bytes, handshakes are bounded and
// in the loops' order of service. A key of an engine has to be bound to its job, by
// engine.GetCertificate.
//
//	ln, err := loop.ListenTLS("tcp", ":443", config)
//	...
//	err = http.Serve(ln, mux)
//
// It is the Listen of a TLSListenConfig with this tls.Config.
func ListenTLS(network, address string, config *tls.Config) (*TLSListener, error) {
	return (&TLSListenConfig{TLS: config}).Listen(network, address)
}

// TLSListenConfig says how a TLSListener works. Only TLS is required.
type TLSListenConfig struct {
	// TLS is the server's configuration. For HTTP/2, its NextProtos has "h2" and
	// "http/1.1".
	TLS *tls.Config

	// Loops is the number of loops; 0 means runtime.GOMAXPROCS.
	Loops int

	// Loop configures each of them. Its limits are for connections before and during
	// their handshake.
	Loop Config

	// ListenConfig has the options of Listen's sockets. Serve takes a listener as it
	// is.
	ListenConfig ListenConfig

	// HandshakeTimeout is that of TLSHandler.
	HandshakeTimeout time.Duration

	// MaxPending is how many connections may wait for Accept; 0 means 128. If that
	// many wait, further handshakes that are done stay on their loop, up to
	// Config.MaxJobs, and then nothing is accepted from the kernel.
	MaxPending int

	// DrainTimeout is how long handshakes in progress have, after Close, to be done and
	// accepted; 0 means a second, negative none. Close and Shutdown of an http.Server
	// wait for that, whatever their context, because Accept does not fail before.
	DrainTimeout time.Duration

	// OnHandshake, if not nil, is called as that of TLSHandler.
	OnHandshake func(c *TLSConn, took time.Duration, err error)
}

const (
	defaultMaxPending   = 128
	defaultDrainTimeout = time.Second
)

// TLSListener is a net.Listener. The connections that it accepts are *tls.Conn, whose
// handshakes have succeeded. Those that fail are not seen; a client that speaks HTTP
// without TLS is told so. Its methods may be called from any goroutine.
type TLSListener struct {
	group   *Group
	ln      *GroupListener
	drain   time.Duration
	pending int // MaxPending

	mu      sync.Mutex
	changed sync.Cond // of what Accept waits for
	conns   []*tls.Conn
	held    int             // places among the pending that jobs have, and no connection yet
	waiters []*pendingPlace // jobs that wait for a place
	closing bool
	err     error // the loops have ended; what Accept returns then
	ended   chan struct{}
}

var _ net.Listener = (*TLSListener)(nil)

// pendingPlace is a place among the connections that wait for Accept.
type pendingPlace struct {
	given bool
	done  func()
}

// Listen listens as ListenConfig.ListenGroup does. The loops run until Close. Errors are
// ErrInvalidConfig, and those of New and of ListenGroup.
func (cfg *TLSListenConfig) Listen(network, address string) (*TLSListener, error) {
	return cfg.start(func(g *Group, h Handler) (*GroupListener, error) {
		return cfg.ListenConfig.ListenGroup(g, network, address, h)
	})
}

// Serve takes over a listener of package net, as Group.Serve does. If it returns an error,
// ln stays open.
func (cfg *TLSListenConfig) Serve(ln net.Listener) (*TLSListener, error) {
	return cfg.start(func(g *Group, h Handler) (*GroupListener, error) { return g.Serve(ln, h) })
}

func (cfg *TLSListenConfig) start(listen func(*Group, Handler) (*GroupListener, error)) (*TLSListener, error) {
	switch {
	case cfg.TLS == nil:
		return nil, fmt.Errorf("%w: TLSListenConfig.TLS is nil", ErrInvalidConfig)
	case len(cfg.TLS.Certificates) == 0 && cfg.TLS.GetCertificate == nil && cfg.TLS.GetConfigForClient == nil:
		return nil, fmt.Errorf("%w: TLSListenConfig.TLS has no certificate, GetCertificate or GetConfigForClient", ErrInvalidConfig)
	case cfg.Loops < 0:
		return nil, fmt.Errorf("%w: TLSListenConfig.Loops is %d", ErrInvalidConfig, cfg.Loops)
	case cfg.MaxPending < 0:
		return nil, fmt.Errorf("%w: TLSListenConfig.MaxPending is %d", ErrInvalidConfig, cfg.MaxPending)
	}
	n := &TLSListener{drain: cfg.DrainTimeout, pending: cfg.MaxPending, ended: make(chan struct{})}
	n.changed.L = &n.mu
	if n.pending == 0 {
		n.pending = defaultMaxPending
	}
	if n.drain == 0 {
		n.drain = defaultDrainTimeout
	}
	loops := cfg.Loops
	if loops == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	g, err := NewGroup(loops, cfg.Loop)
	if err != nil {
		return nil, err
	}
	n.group = g
	h := &TLSHandler{Config: cfg.TLS, HandshakeTimeout: cfg.HandshakeTimeout, Handler: n.deliver}
	onHandshake := cfg.OnHandshake
	h.OnHandshake = func(c *TLSConn, took time.Duration, err error) {
		plainhttp.Answer(err) // net/http would, but does not see this connection
		if onHandshake != nil {
			onHandshake(c, took, err)
		}
	}
	n.ln, err = listen(g, h)
	if err != nil {
		g.Close()
		return nil, err
	}
	go n.run()
	for _, l := range g.Loops() { // Close would drop whoever waits for a loop that does not run yet
		running := make(chan struct{})
		if l.Post(func() { l.spareDescriptors(true); close(running) }) == nil {
			select {
			case <-running:
			case <-n.ended:
			}
		}
	}
	return n, nil
}

// run runs the loops. Afterwards no more connections come.
func (n *TLSListener) run() {
	err := n.group.Run(context.Background())
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil || errors.Is(err, ErrClosed) {
		err = net.ErrClosed
	}
	n.err = n.opError("accept", err)
	n.changed.Broadcast()
	close(n.ended)
}

// deliver is the handler of connections whose handshake is done.
func (n *TLSListener) deliver(ctx context.Context, c *TLSConn) error {
	if err := n.takePlace(ctx); err != nil {
		return err
	}
	var nc *tls.Conn
	defer func() { // even if a hook ends the goroutine
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.held--; nc == nil {
			n.freePlace()
			return
		}
		n.conns = append(n.conns, nc)
		n.changed.Signal()
	}()
	for wait := time.Millisecond; ; wait *= 2 {
		var err error
		if nc, err = c.Detach(); err == nil || wait > maxDescriptorWait || !isDescriptorLimit(err) {
			return err
		}
		c.Loop().closeLingering()
		if err := Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// maxDescriptorWait is the longest of the waits for descriptors that a connection has,
// each twice as long as the one before.
const maxDescriptorWait = 500 * time.Millisecond

// takePlace pauses the job until there is a place among the pending.
func (n *TLSListener) takePlace(ctx context.Context) error {
	n.mu.Lock()
	if len(n.conns)+n.held < n.pending {
		n.held++
		n.mu.Unlock()
		return nil
	}
	p := new(pendingPlace)
	n.waiters = append(n.waiters, p)
	n.mu.Unlock()
	taken := false
	defer func() { // also if the job is cancelled
		n.mu.Lock()
		defer n.mu.Unlock()
		if taken {
			return
		}
		if p.given {
			n.held--
			n.freePlace()
		}
		n.waiters = slices.DeleteFunc(n.waiters, func(o *pendingPlace) bool { return o == p })
	}()
	err := Await(ctx, func(done func()) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if p.done = done; p.given {
			done()
		}
	})
	taken = err == nil
	return err
}

// freePlace gives a place to the job that has waited for the longest time. It must be
// called with the lock held.
func (n *TLSListener) freePlace() {
	if len(n.waiters) == 0 {
		return
	}
	p := n.waiters[0]
	n.waiters = slices.Delete(n.waiters, 0, 1)
	n.held++
	p.given = true
	if p.done != nil {
		p.done()
	}
}

// Accept returns the next connection, a *tls.Conn. After Close it still returns those
// whose handshake was in progress, and then an error that matches net.ErrClosed.
func (n *TLSListener) Accept() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.conns) == 0 {
		if n.err != nil {
			return nil, n.err
		}
		n.changed.Wait()
	}
	c := n.conns[0]
	n.conns = slices.Delete(n.conns, 0, 1)
	n.freePlace()
	if n.closing {
		n.changed.Broadcast()
	}
	return c, nil
}

// Close stops accepting, as Listener.Close does: when it returns, the address is free. It
// does not wait for loops or clients. Clients that have connected are still served: call
// Accept until it fails, as http.Server does, within TLSListenConfig.DrainTimeout. Then
// what is left is closed. Connections that were accepted stay open.
func (n *TLSListener) Close() error {
	n.mu.Lock()
	closing := n.closing
	n.closing = true
	n.mu.Unlock()
	if closing {
		return n.opError("close", net.ErrClosed)
	}
	err := n.ln.Close()
	if errors.Is(err, net.ErrClosed) { // the loops have failed
		err = nil
	}
	go n.end()
	return err
}

// end ends the loops, and then closes what nobody has accepted.
func (n *TLSListener) end() {
	ctx, cancel := context.WithTimeout(context.Background(), max(n.drain, 0))
	defer cancel()
	n.group.Shutdown(ctx)
	n.group.Close()
	<-n.ended
	n.mu.Lock()
	defer n.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})()
	for len(n.conns) > 0 && ctx.Err() == nil {
		n.changed.Wait()
	}
	for _, c := range n.conns {
		c.NetConn().Close() // not c.Close, which may wait for the client
	}
	n.conns = nil
}

// Addr returns the address at which the listener accepts.
func (n *TLSListener) Addr() net.Addr { return n.ln.Addr() }

// Loops returns the loops of the handshakes, also after Close: for their Stats one by one,
// and for metrics. They belong to the listener, which runs and ends them. The slice must
// not be changed.
func (n *TLSListener) Loops() []*Loop { return n.group.Loops() }

// Stats returns the sum of the loops' counts.
func (n *TLSListener) Stats() Stats { return n.group.Stats() }

func (n *TLSListener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: n.Addr().Network(), Addr: n.Addr(), Err: err}
}
