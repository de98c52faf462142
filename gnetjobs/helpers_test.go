package gnetjobs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// goroutineID tells goroutines apart; it is the number in a stack's first line.
func goroutineID() string {
	buf := make([]byte, 64)
	return strings.Fields(string(buf[:runtime.Stack(buf, false)]))[1]
}

// logger collects what gnet logs as an error. gnet keeps the last Logger it was
// given for the whole program, so there is one for all tests.
type logger struct {
	hold   atomic.Pointer[chan bool] // not nil: Errorf waits until it is closed
	mu     sync.Mutex
	errors []string
}

var logged logger

func (l *logger) Debugf(string, ...any) {}
func (l *logger) Infof(string, ...any)  {}
func (l *logger) Warnf(string, ...any)  {}

func (l *logger) Errorf(format string, args ...any) {
	if hold := l.hold.Load(); hold != nil {
		<-*hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, fmt.Sprintf(format, args...))
}

func (l *logger) Fatalf(format string, args ...any) { l.Errorf(format, args...) }

// take returns what has been logged since the last call.
func (l *logger) take() []string {
	gnetjobs.FlushLogs()
	l.mu.Lock()
	defer l.mu.Unlock()
	errors := l.errors
	l.errors = nil
	return errors
}

// handler is an EventHandler made of functions, any of which may be nil. It
// counts OnOpen and OnClose.
type handler struct {
	gnet.BuiltinEventEngine
	onOpen    func(c gnet.Conn) ([]byte, gnet.Action)
	onTraffic func(c gnet.Conn) gnet.Action
	onClose   func(c gnet.Conn, err error) gnet.Action

	boot           chan booted
	shutdowns      atomic.Int64
	opened, closed atomic.Int64
}

// booted is what OnBoot knows of its engine.
type booted struct {
	eng  gnet.Engine
	addr string // of its listener, if it has only one
}

func (h *handler) OnBoot(eng gnet.Engine) gnet.Action {
	if h.boot != nil {
		h.boot <- booted{eng, boundAddr(eng)} // here, as Dup is for a server that does not end meanwhile
	}
	return gnet.None
}

func (h *handler) OnShutdown(gnet.Engine) { h.shutdowns.Add(1) }

func (h *handler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	h.opened.Add(1)
	if h.onOpen == nil {
		return nil, gnet.None
	}
	return h.onOpen(c)
}

func (h *handler) OnTraffic(c gnet.Conn) gnet.Action {
	if h.onTraffic == nil {
		return gnet.None
	}
	return h.onTraffic(c)
}

func (h *handler) OnClose(c gnet.Conn, err error) gnet.Action {
	h.closed.Add(1)
	if h.onClose == nil {
		return gnet.None
	}
	return h.onClose(c, err)
}

// echo is an OnTraffic that sends back what has come.
func echo(c gnet.Conn) gnet.Action {
	buf, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(buf); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// server is a gnet server that runs until the test ends.
type server struct {
	*handler
	network string
	addr    string
	eng     gnet.Engine
	ran     chan error // Run's error
	stopped bool
}

// serve runs a server with wrap(h), which gnetjobs or nothing has wrapped. When
// the test ends, nothing of it may be left, and gnet have logged no error.
func serve(t testing.TB, h *handler, wrap func(gnet.EventHandler) gnet.EventHandler, opts ...gnet.Option) *server {
	t.Helper()
	return serveAt(t, "tcp://127.0.0.1:0", h, wrap, opts...)
}

// serveAt is serve on an address of gnet's.
func serveAt(t testing.TB, address string, h *handler, wrap func(gnet.EventHandler) gnet.EventHandler, opts ...gnet.Option) *server {
	t.Helper()
	testkit.CheckLeaks(t)
	logged.take()
	h.boot = make(chan booted, 1)
	s := &server{handler: h, ran: make(chan error, 1)}
	opts = append([]gnet.Option{gnet.WithLogger(&logged)}, opts...)
	go func() { s.ran <- gnet.Run(wrap(h), address, opts...) }()
	s.network, s.addr, _ = strings.Cut(address, "://")
	select {
	case b := <-h.boot:
		s.eng = b.eng
		if s.network != "unix" {
			s.addr = b.addr
		}
	case err := <-s.ran:
		t.Fatalf("Run: %v", err)
	case <-time.After(testkit.Patience):
		t.Fatal("OnBoot is not called")
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// boundAddr returns the address of the engine's listener, "" if there are
// several.
func boundAddr(eng gnet.Engine) string {
	fd, err := eng.Dup()
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if ln, err := net.FileListener(f); err == nil {
		addr := ln.Addr().String()
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		ln.Close()
		return addr
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return ""
	}
	defer pc.Close()
	return pc.LocalAddr().String()
}

// stop ends the server, once.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if s.stopped {
		return
	}
	s.stopped = true
	// Stop looks twice a second whether the engine has ended. Run's return says
	// it at once.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.eng.Stop(ctx)
	if err := testkit.Receive(t, s.ran); err != nil {
		t.Errorf("Run: %v", err)
	}
	s.ended(t)
}

// ended checks a server whose Run has returned.
func (s *server) ended(t testing.TB) {
	t.Helper()
	if n := s.shutdowns.Load(); n != 1 {
		t.Errorf("OnShutdown was called %d times", n)
	}
	if o, c := s.opened.Load(), s.closed.Load(); o != c {
		t.Errorf("OnOpen was called %d times, OnClose %d times", o, c)
	}
	for _, e := range logged.take() {
		t.Errorf("gnet logged: %s", e)
	}
}

// connections counts what the engine has. At least one has to have been opened:
// seeing that is what keeps gnet's start, which sets what is read here, before.
func (s *server) connections() int {
	s.opened.Load()
	return s.eng.CountConnections()
}

// empty waits until the server has no connection, and has called OnClose as
// often as OnOpen.
func (s *server) empty(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, "a server without connections", func() bool {
		return s.opened.Load() == s.closed.Load() && s.connections() == 0
	})
}

// dial connects without TLS. The connection fails when patience is over, and
// is closed when the test ends.
func (s *server) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// connect is for goroutines that are not the test's own.
func (s *server) connect() (net.Conn, error) {
	c, err := net.DialTimeout(s.network, s.addr, testkit.Patience)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(testkit.Patience))
	return c, nil
}

// dialTLS connects and shakes hands.
func (s *server) dialTLS(t testing.TB, cfg *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(s.dial(t), cfg)
	if err := c.Handshake(); err != nil {
		t.Fatalf("client's handshake: %v", err)
	}
	return c
}

// connectTLS is for goroutines that are not the test's own.
func (s *server) connectTLS(cfg *tls.Config) (*tls.Conn, error) {
	raw, err := s.connect()
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("client's handshake: %w", err)
	}
	return c, nil
}

// turn waits until c's event loop has done what it was doing: a job that ran
// has paused, or ended.
func turn(t testing.TB, c gnet.Conn) {
	t.Helper()
	turned := make(chan bool)
	if err := c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		close(turned)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, turned)
}

// plain leaves a handler as it is.
func plain(h gnet.EventHandler) gnet.EventHandler { return h }

// withTLS wraps handlers with TLS and opts.
func withTLS(opts gnetjobs.Options) func(gnet.EventHandler) gnet.EventHandler {
	return withConfig(serverConfig(), opts)
}

func withConfig(cfg *tls.Config, opts gnetjobs.Options) func(gnet.EventHandler) gnet.EventHandler {
	return func(h gnet.EventHandler) gnet.EventHandler { return gnetjobs.TLS(h, cfg, opts) }
}

// withJobs wraps handlers with Jobs.
func withJobs(opts gnetjobs.Options) func(gnet.EventHandler) gnet.EventHandler {
	return func(h gnet.EventHandler) gnet.EventHandler { return gnetjobs.Jobs(h, opts) }
}

// serverNames are those of the servers' certificates.
var serverNames = []string{"gnetjobs.test", "localhost"}

var ecdsaCert = sync.OnceValue(func() *tls.Certificate {
	return testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), serverNames...)
})

func serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*ecdsaCert()}}
}

// clientConfig returns a client's configuration for one version of TLS, or for
// any if that is 0.
func clientConfig(version uint16) *tls.Config {
	return &tls.Config{
		RootCAs:    testkit.Roots(ecdsaCert()),
		ServerName: "gnetjobs.test",
		MinVersion: version,
		MaxVersion: version,
	}
}

// versions are those of TLS that crypto/tls speaks by default.
var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// eachVersion runs f as a subtest for each version of TLS.
func eachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	t.Helper()
	for _, v := range versions {
		t.Run(strings.ReplaceAll(tls.VersionName(v), " ", ""), func(t *testing.T) { f(t, v) })
	}
}

// wantEcho proves that an echo server answers on c.
func wantEcho(t testing.TB, c io.ReadWriter, message string) {
	t.Helper()
	if err := exchange(c, message); err != nil {
		t.Fatal(err)
	}
}

// exchange sends a message and expects it back.
func exchange(c io.ReadWriter, message string) error {
	if _, err := io.WriteString(c, message); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if string(got) != message {
		return fmt.Errorf("%d bytes came back changed", len(message))
	}
	return nil
}

// pattern returns n bytes in which no piece looks like another.
func pattern(n int) []byte {
	buf := bytes.NewBuffer(make([]byte, 0, n+20))
	for buf.Len() < n {
		buf.WriteString(strconv.Itoa(buf.Len()))
		buf.WriteByte(' ')
	}
	return buf.Bytes()[:n]
}

// wire keeps the last record's header of what a TLS client reads.
type wire struct {
	net.Conn
	mu     sync.Mutex
	unread []byte // what does not make a whole record yet
	kind   byte   // of the last record
	length int
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = append(w.unread, p[:n]...)
	for len(w.unread) >= 5 {
		length := int(w.unread[3])<<8 | int(w.unread[4])
		if len(w.unread) < 5+length {
			break
		}
		w.kind, w.length = w.unread[0], length
		w.unread = w.unread[5+length:]
	}
	return n, err
}

// endedByAlert reports whether the last record is an alert. TLS 1.3 hides a
// record's type, but no other that a server sends ends up this short: an
// alert's two bytes, its type and a tag of 16.
func (w *wire) endedByAlert(version uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unread) > 0 {
		return false
	}
	if version == tls.VersionTLS12 {
		return w.kind == 21
	}
	return w.kind == 23 && w.length == 2+1+16
}

// handshakeLog keeps what OnHandshake is told.
type handshakeLog struct {
	mu   sync.Mutex
	errs []error
	took []time.Duration
}

func (l *handshakeLog) add(_ gnet.Conn, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
	l.took = append(l.took, took)
}

// count returns how many handshakes have succeeded and failed.
func (l *handshakeLog) count() (good, bad int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.errs {
		if err == nil {
			good++
		} else {
			bad++
		}
	}
	return good, bad
}

// only returns the error of the one handshake that there was.
func (l *handshakeLog) only(t testing.TB) error {
	t.Helper()
	testkit.Eventually(t, "the end of the handshake", func() bool { good, bad := l.count(); return good+bad > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) != 1 {
		t.Fatalf("OnHandshake was called %d times: %v", len(l.errs), l.errs)
	}
	return l.errs[0]
}
