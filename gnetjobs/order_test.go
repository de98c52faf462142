package gnetjobs_test

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// clientHello is one that any number of clients may send.
func clientHello(t testing.TB) []byte {
	t.Helper()
	client, server := net.Pipe()
	server.Close()
	hello := &recorder{Conn: client}
	tls.Client(hello, clientConfig(0)).Handshake()
	if len(hello.written) == 0 {
		t.Fatal("no ClientHello")
	}
	return hello.written
}

// cost is what each handshake of busyConfig takes at least: more than those that
// begin in one turn may.
const cost = 300 * time.Microsecond

// busyConfig is a server's configuration with expensive handshakes. begin is
// called in each, on the event loop.
func busyConfig(begin func()) *tls.Config {
	cfg := serverConfig()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		begin()
		for end := time.Now().Add(cost); time.Now().Before(end); {
		}
		return nil, nil
	}
	return cfg
}

// stopper stops a server's event loop: its client's next message blocks OnTraffic.
type stopper struct {
	client  net.Conn
	entered chan bool
	open    chan bool
}

func newStopper() *stopper { return &stopper{entered: make(chan bool), open: make(chan bool)} }

// onTraffic is the stopper's part of an OnTraffic.
func (g *stopper) onTraffic(c gnet.Conn) bool {
	if b, _ := c.Peek(-1); string(b) != "stop" {
		return false
	}
	c.Discard(-1)
	g.entered <- true
	<-g.open
	return true
}

// stop returns when the event loop does nothing until open is closed.
func (g *stopper) stop(t *testing.T) {
	t.Helper()
	if _, err := g.client.Write([]byte("stop")); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, g.entered)
}

// dialSome connects n clients, which gnet has accepted when it returns. They are
// not the first.
func (s *server) dialSome(t *testing.T, n int) []net.Conn {
	t.Helper()
	testkit.Eventually(t, "OnOpen", func() bool { return s.opened.Load() > 0 }) // as connections demands
	before := s.connections()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial(t)
	}
	testkit.Eventually(t, "all are accepted", func() bool { return s.connections() == before+n })
	return conns
}

// with returns how many handshakes have ended with an error that is target.
func (l *handshakeLog) with(target error) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.errs {
		if errors.Is(err, target) {
			n++
		}
	}
	return n
}

// TestEstablishedFirst proves that a connection whose handshake is done waits
// for a few handshakes at most, however many wait to begin. It counts those that
// begin between the arrival of a message and its OnTraffic. Handshakes send the
// messages themselves: so nothing depends on when another goroutine runs.
func TestEstablishedFirst(t *testing.T) {
	const most = 8
	clients := size(400, 150)
	for _, mode := range []struct {
		name string
		opts []gnet.Option
	}{
		{"reactors", nil},
		{"reuseport", []gnet.Option{gnet.WithReusePort(true)}},
		{"edge-triggered", []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			hello := clientHello(t)
			var established *tls.Conn
			begun, sent, worst, answered := 0, 0, 0, 0 // of the event loop's goroutine
			done := make(chan bool)
			cfg := busyConfig(func() {
				if established == nil {
					return
				}
				begun++
				if sent == 0 {
					sent = begun
					if _, err := established.Write([]byte("ping")); err != nil {
						t.Error(err)
					}
				}
				if begun == clients {
					close(done)
				}
			})
			g := newStopper()
			s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
				if g.onTraffic(c) {
					return gnet.None
				}
				c.Discard(-1)
				worst = max(worst, begun-sent)
				sent = 0
				answered++
				return gnet.None
			}}, withConfig(cfg, gnetjobs.Options{HandshakeTimeout: testkit.Patience, MaxWait: -1}), mode.opts...)
			g.client = s.dialTLS(t, clientConfig(0))
			c := s.dialTLS(t, clientConfig(0))
			conns := s.dialSome(t, clients)
			g.stop(t)
			established = c
			for _, conn := range conns {
				if _, err := conn.Write(hello); err != nil {
					t.Fatal(err)
				}
			}
			close(g.open)
			testkit.Receive(t, done)
			s.stop(t) // so nothing changes any more
			if worst > most || answered < clients/most/2 {
				t.Errorf("%d handshakes have begun between a message and its OnTraffic, want %d at most; %d messages", worst, most, answered)
			}
		})
	}
}

// TestHandshakesLeaveJobs proves that clients which do not go on with their
// handshake do not use up the jobs.
func TestHandshakesLeaveJobs(t *testing.T) {
	for _, opts := range []gnetjobs.Options{{MaxJobs: 4}, {MaxJobs: 4, MaxHandshakes: 2}, {MaxJobs: -1, MaxHandshakes: 1}} {
		opts.HandshakeTimeout = -1
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if c.InboundBuffered() > 5 {
				inJob(t, echoLines)(c)
				return gnet.None
			}
			return echo(c)
		}}, withTLS(opts))
		c := s.dialTLS(t, clientConfig(0))
		var silent []net.Conn
		for _, conn := range s.dialSome(t, 10) {
			if _, err := conn.Write([]byte{22}); err != nil {
				t.Fatal(err)
			}
			silent = append(silent, conn)
		}
		for range 20 { // the loop has turned since
			wantEcho(t, c, "hello")
		}
		wantEcho(t, c, "in a job\n")
		for _, conn := range silent {
			conn.Close()
		}
		wantEcho(t, s.dialTLS(t, clientConfig(0)), "hello")
		s.stop(t)
	}
}

// busyJob returns a server whose only job is taken, until release is called, so
// that handshakes wait to begin.
func busyJob(t *testing.T, opts gnetjobs.Options) (s *server, begun *atomic.Int64, release func()) {
	t.Helper()
	begun = new(atomic.Int64)
	cfg := serverConfig()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		begun.Add(1)
		return nil, nil
	}
	opts.MaxJobs = 1
	s = serve(t, &handler{onOpen: inJob(t, echoLines)}, withConfig(cfg, opts))
	c := s.dialTLS(t, clientConfig(0))
	wantEcho(t, c, "hello\n")
	begun.Store(0)
	return s, begun, func() { c.Close() }
}

// TestTimeoutInQueue proves that HandshakeTimeout bounds the time before a
// handshake begins, too.
func TestTimeoutInQueue(t *testing.T) {
	var handshakes handshakeLog
	s, begun, _ := busyJob(t, gnetjobs.Options{HandshakeTimeout: time.Second, OnHandshake: handshakes.add})
	c := s.dial(t)
	if _, err := c.Write(clientHello(t)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the timeout", func() bool { _, bad := handshakes.count(); return bad == 1 })
	if n := handshakes.with(gnetjobs.ErrHandshakeTimeout); n != 1 {
		t.Errorf("%d handshakes have ended with ErrHandshakeTimeout", n)
	}
	if n := begun.Load(); n != 0 {
		t.Errorf("%d handshakes have begun", n)
	}
	testkit.Eventually(t, "the connection has been closed", func() bool { return s.connections() == 1 })
}

// TestStopWithQueue ends a server with handshakes that have not begun.
func TestStopWithQueue(t *testing.T) {
	var handshakes handshakeLog
	s, begun, _ := busyJob(t, gnetjobs.Options{HandshakeTimeout: -1, OnHandshake: handshakes.add})
	for _, conn := range s.dialSome(t, 10) {
		if _, err := conn.Write(clientHello(t)); err != nil {
			t.Fatal(err)
		}
	}
	s.stop(t)
	if good, bad := handshakes.count(); good != 1 || bad != 10 {
		t.Errorf("%d handshakes have succeeded and %d failed (%d begun), want 1 and 10", good, bad, begun.Load())
	}
}

// TestGoneFromQueue proves that clients which leave the queue make room, and
// that the others have their turn.
func TestGoneFromQueue(t *testing.T) {
	var handshakes handshakeLog
	s, begun, release := busyJob(t, gnetjobs.Options{HandshakeTimeout: -1, OnHandshake: handshakes.add})
	for i, conn := range s.dialSome(t, 10) {
		if _, err := conn.Write(clientHello(t)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			testkit.Reset(conn)
		} else {
			conn.Close()
		}
	}
	testkit.Eventually(t, "all have come, and have gone", func() bool { _, bad := handshakes.count(); return bad == 10 && s.connections() == 1 })
	good, _ := handshakes.count()
	if n := begun.Load(); n != 0 || good != 1 {
		t.Errorf("%d handshakes have begun and %d have succeeded, want none and 1", n, good)
	}
	// Some systems drop what a connection has received when it is reset.
	if n := handshakes.with(gnetjobs.ErrClientGone); n < 5 {
		t.Errorf("%d handshakes have ended with ErrClientGone", n)
	}
	c := make(chan error, 1)
	go func() {
		conn, err := s.connectTLS(clientConfig(0))
		if err == nil {
			conn.Close()
		}
		c <- err
	}()
	testkit.Eventually(t, "another client", func() bool { return s.connections() == 2 })
	release()
	if err := testkit.Receive(t, c); err != nil {
		t.Error(err)
	}
}

// TestOverload proves that clients are turned away, by a reset, when more come
// than are served and clients give up, and not if MaxWait is negative.
func TestOverload(t *testing.T) {
	for _, wait := range []time.Duration{time.Millisecond, -1} {
		t.Run(wait.String(), func(t *testing.T) {
			const clients = 300
			hello := clientHello(t)
			var handshakes handshakeLog
			var coming []net.Conn // of the event loop's goroutine once the loop goes on
			come := func(n int) {
				for range min(n, len(coming)) {
					coming[0].Write(hello)
					coming = coming[1:]
				}
			}
			var leaving []net.Conn
			var begun atomic.Int64
			cfg := busyConfig(func() {
				n := begun.Add(1)
				if come(2); n > 20 && len(leaving) > 0 {
					testkit.Reset(leaving[0])
					leaving = leaving[1:]
				}
			})
			g := newStopper()
			s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action { g.onTraffic(c); return gnet.None }},
				withConfig(cfg, gnetjobs.Options{HandshakeTimeout: testkit.Patience, MaxWait: wait, OnHandshake: handshakes.add}))
			g.client = s.dialTLS(t, clientConfig(0))
			conns := s.dialSome(t, clients)
			g.stop(t)
			coming = conns
			for i := 100; i < clients; i += 3 {
				leaving = append(leaving, conns[i])
			}
			come(40)
			close(g.open)
			turnedAway := func() int { return handshakes.with(gnetjobs.ErrOverloaded) }
			if wait < 0 {
				testkit.Eventually(t, "the end of all", func() bool {
					_, bad := handshakes.count()
					return int(begun.Load())+bad > clients
				})
				s.stop(t)
				if n := turnedAway(); n > 0 {
					t.Errorf("%d clients were turned away", n)
				}
				return
			}
			testkit.Eventually(t, "clients are turned away", func() bool { return turnedAway() > 0 })
			s.stop(t)
		})
	}
}

// TestIdleLoopBeginsAtOnce proves that a handshake waits for no turn when there
// is nothing to be done before.
func TestIdleLoopBeginsAtOnce(t *testing.T) {
	at := make(chan bool, 1)
	cfg := serverConfig()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		at <- gnetjobs.InPoll(hello.Conn.(interface{ NetConn() net.Conn }).NetConn().(gnet.Conn))
		return nil, nil
	}
	s := serve(t, &handler{}, withConfig(cfg, gnetjobs.Options{}))
	s.dialTLS(t, clientConfig(0))
	if !testkit.Receive(t, at) {
		t.Error("the handshake has begun in another turn")
	}
}
