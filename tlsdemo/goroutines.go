package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/internal/memory"
	"github.com/jobloop/jobloop/internal/plainhttp"
	"github.com/jobloop/jobloop/internal/unixsocket"
)

// goroutineServer serves with a goroutine for each connection, on blocking
// connections of package net. It is for comparison with loopServer, so it treats
// its clients alike: the time limits below are the defaults of loop.Config.
type goroutineServer struct {
	*responder
	exchanges        *http1.Pool
	returnMemory     func()
	config           *tls.Config
	handshakeTimeout time.Duration
	onHandshake      func(tlsConn, time.Duration, error)
	log              *slog.Logger
	ln               net.Listener
	accepted         chan struct{} // closed when no more connections will be

	mu       sync.Mutex
	open     map[*goroutineConn]struct{}
	stopping bool
	closed   bool
	drained  chan struct{} // closed when there are no connections and will be none
}

const (
	writeTimeout  = 30 * time.Second // for each write
	lingerTimeout = 5 * time.Second  // until the peer closes its side
	lingerSize    = 1 << 20          // bytes read from the peer meanwhile

	// stopTimeout replaces lingerTimeout while the server stops. A client that has
	// just connected may take that long to send its hello, and then its first request.
	stopTimeout = 500 * time.Millisecond
)

var (
	errStopping = errors.New("the server is stopping")
	errPanicked = errors.New("the handshake panicked")
)

// newGoroutineServer completes the TLS configuration.
func newGoroutineServer(r *responder, config *tls.Config, handshakeTimeout time.Duration, onHandshake func(tlsConn, time.Duration, error), log *slog.Logger) *goroutineServer {
	config.NextProtos = protocols
	return &goroutineServer{
		responder: r, exchanges: http1.NewPool(http1.DefaultHeader), returnMemory: memory.Returner(quietTime),
		config: config, handshakeTimeout: handshakeTimeout, onHandshake: onHandshake, log: log,
		open: make(map[*goroutineConn]struct{}), accepted: make(chan struct{}), drained: make(chan struct{}),
	}
}

func (s *goroutineServer) String() string { return "goroutines" }

func (s *goroutineServer) listen(addr string) (net.Addr, error) {
	ln, err := systemdListener()
	if ln == nil && err == nil {
		var network, address string
		if network, address, err = splitAddr(addr); err != nil {
			return nil, err
		}
		ln, err = listenGoroutines(network, address)
	}
	if err != nil {
		return nil, err
	}
	s.ln = ln
	return ln.Addr(), nil
}

// listenGoroutines listens as loops do: without keep-alive, and with a Unix socket that
// replaces what a killed server has left behind.
func listenGoroutines(network, address string) (net.Listener, error) {
	if network == "unix" {
		ln, err := unixsocket.Listen(address, 0, nil)
		if err != nil {
			return nil, err
		}
		return ln, nil
	}
	lc := net.ListenConfig{KeepAlive: -1}
	return lc.Listen(context.Background(), network, address)
}

// run accepts connections until the listener is closed.
func (s *goroutineServer) run() error {
	defer close(s.accepted)
	var pause time.Duration
	for {
		raw, err := s.ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(raw)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // such as too many open files
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept connections", "error", err, "pause", pause)
			time.Sleep(pause)
		}
	}
}

// start serves a connection on a new goroutine.
func (s *goroutineServer) start(raw net.Conn) {
	c := &goroutineConn{Conn: raw, srv: s, began: time.Now()}
	c.tls = tls.Server(c, s.config)
	c.SetDeadline(c.began.Add(s.handshakeTimeout))
	if t, ok := raw.(*net.TCPConn); ok {
		t.SetKeepAlive(false) // package net turns it on for a socket of systemd's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		raw.Close()
		return
	}
	s.open[c] = struct{}{}
	go c.serve()
}

// forget is called when a connection has been closed.
func (s *goroutineServer) forget(c *goroutineConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.stopping && len(s.open) == 0 {
		close(s.drained)
	}
}

func (s *goroutineServer) conns() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.open))
}

func (s *goroutineServer) stopAccepting() { s.ln.Close() }

// shutdown must be called only once, while run runs.
func (s *goroutineServer) shutdown(ctx context.Context) error {
	s.stopAccepting()
	select {
	case <-s.accepted: // now all that were accepted are among the open ones
	case <-ctx.Done(): // run waits until there are descriptors again
	}
	s.mu.Lock()
	s.stopping = true
	for c := range s.open {
		c.stop()
	}
	if len(s.open) == 0 {
		close(s.drained)
	}
	s.mu.Unlock()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *goroutineServer) close() {
	if s.ln != nil {
		s.ln.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
}

// serveHTTP answers requests until there are none left.
func (s *goroutineServer) serveHTTP(c *goroutineConn) error {
	session := newSession(c.tls)
	x := s.exchanges.Get(c.tls)
	defer x.Release()
	for c.enter(connFresh); ; c.enter(connIdle) {
		if err := x.Wait(); err != nil {
			return goodbye(err)
		}
		c.enter(connBusy)
		if last, err := s.handle(x, session); last || err != nil {
			return err
		}
	}
}

// handle reads a request and answers it. last says that the connection is to be
// closed; all answers have then been sent.
func (s *goroutineServer) handle(x *http1.Exchange, session *session) (last bool, err error) {
	if err := x.ReadRequest(maxBody, false); err != nil {
		if !x.Refuse(err) {
			return true, goodbye(err)
		}
		s.count(&x.Ctx)
		return true, x.Respond(true)
	}
	x.Resp.Reset()
	s.answer(&x.Ctx, session, place{})
	s.count(&x.Ctx)
	last = x.Last() || x.Resp.ConnectionClose()
	return last, x.Respond(last)
}

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// goroutineConn is a connection of a goroutineServer. It is also the net.Conn below
// crypto/tls, to know what the peer has sent and taken.
type goroutineConn struct {
	net.Conn
	srv   *goroutineServer
	tls   *tls.Conn
	began time.Time

	// These belong to the connection's goroutine.
	sent   bool // something
	failed bool // a write has
	over   bool // nothing more can be read
	ending bool // crypto/tls has a deadline of its own for close_notify

	mu       sync.Mutex
	state    goroutineState // only the connection's goroutine changes it
	stopping bool
}

// goroutineState says what a goroutine does with its connection.
type goroutineState int

const (
	connNew       goroutineState = iota // it waits for the first byte
	connHandshake                       // it does the handshake
	connFresh                           // it waits for the first request
	connIdle                            // it waits for another request
	connBusy                            // it reads or answers a request
	connLingering                       // it waits until the peer has closed its side
)

// enter changes the state, and sets the deadline for reading that goes with it.
func (c *goroutineConn) enter(s goroutineState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.setDeadline()
}

// stop ends the connection's waits, but not a handshake or request in progress.
func (c *goroutineConn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.state != connHandshake && c.state != connBusy {
		c.setDeadline()
	}
}

// setDeadline must be called with the lock held.
func (c *goroutineConn) setDeadline() {
	now := time.Now()
	var deadline time.Time
	switch {
	case c.stopping && c.state == connIdle:
		deadline = now
	case c.stopping && (c.state == connNew || c.state == connFresh || c.state == connLingering):
		deadline = now.Add(stopTimeout)
	case c.state <= connHandshake:
		deadline = c.began.Add(c.srv.handshakeTimeout)
	case c.state == connBusy:
		deadline = now.Add(c.srv.requestTimeout)
	case c.state == connLingering:
		deadline = now.Add(lingerTimeout)
	default:
		deadline = now.Add(c.srv.idleTimeout)
	}
	c.SetReadDeadline(deadline)
}

// Read reads for crypto/tls.
func (c *goroutineConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.state == connNew {
		c.enter(connHandshake)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.over = true
	}
	return n, err
}

// Write writes for crypto/tls. The deadline of the handshake also applies to its
// writes.
func (c *goroutineConn) Write(p []byte) (int, error) {
	if c.state > connHandshake && !c.ending {
		c.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	n, err := c.Conn.Write(p)
	c.sent = c.sent || n > 0
	c.failed = c.failed || err != nil
	return n, err
}

// serve is the connection's goroutine. A panic of crypto/tls or the handler is
// logged, and ends only this connection.
func (c *goroutineConn) serve() {
	defer c.srv.forget(c)
	defer c.Close()
	log := c.srv.log.With("remote", c.RemoteAddr())
	defer func() {
		if v := recover(); v != nil {
			log.Error("connection panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	err := c.handshake()
	if err == nil {
		err = c.srv.serveHTTP(c)
	}
	if err != nil {
		log.Debug("connection failed", "error", err)
	}
	c.end()
}

func (c *goroutineConn) handshake() error {
	err := errPanicked
	defer func() { c.srv.onHandshake(c.tls, time.Since(c.began), err) }()
	err = c.tls.Handshake()
	c.srv.returnMemory()
	plainhttp.Answer(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.state == connNew && c.told() {
			err = errStopping
		}
	case time.Since(c.began) >= c.srv.handshakeTimeout: // it waited for an engine
		err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// told reports whether the connection was told to stop.
func (c *goroutineConn) told() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// end sends the end of the connection. If the socket were closed while the peer is
// still sending, the kernel would reset the connection, and the peer could lose the
// last answer. So end first waits for the peer's end.
func (c *goroutineConn) end() {
	if c.failed {
		return
	}
	c.ending = true
	c.tls.CloseWrite() // fails if there was no handshake
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || !c.sent || c.failed || c.over || half.CloseWrite() != nil {
		return
	}
	c.enter(connLingering)
	io.CopyN(io.Discard, c.Conn, lingerSize)
}
