package loop_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// hold keeps l's thread until the function it returns is called: what happens
// meanwhile, the loop finds all at once.
func hold(t testing.TB, l *loop.Loop) (release func()) {
	t.Helper()
	held, released := make(chan bool), make(chan bool)
	if err := l.Post(func() { close(held); <-released }); err != nil {
		t.Fatal(err)
	}
	receive(t, held)
	done := false
	release = func() {
		if !done {
			done = true
			close(released)
		}
	}
	t.Cleanup(release)
	return release
}

// strangers connects n clients, which the loop has accepted when it returns.
func strangers(t testing.TB, l *loop.Loop, addr net.Addr, n int) []net.Conn {
	t.Helper()
	had := settle(t, l).Conns
	cs := make([]net.Conn, n)
	for i := range cs {
		cs[i] = connect(t, addr)
	}
	eventually(t, "all are accepted", func() bool { return l.Stats().Conns == had+uint64(n) })
	return cs
}

// established is a connection whose handshake is done, and which is parked.
func established(t testing.TB, l *loop.Loop, addr net.Addr) *tls.Conn {
	t.Helper()
	c := tls.Client(connect(t, addr), clientConfig())
	send(t, c, "x")
	expect(t, c, "x")
	eventually(t, "it is parked", func() bool { s := settle(t, l); return s.JobsStarted == s.JobsFinished })
	return c
}

// What is in progress goes before what is new: an established connection is not
// served behind the handshakes of strangers, whether they begin or go on.
func TestEstablishedBeforeNew(t *testing.T) {
	const n = 1000 // several times what the poller tells at a time
	for _, begun := range []bool{false, true} {
		var hellos, before atomic.Int64
		l := newLoop(t, loop.Config{})
		h := tlsEcho()
		h.Config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			hellos.Add(1)
			return nil, nil
		}
		echo := h.Handler
		h.Handler = func(ctx context.Context, c *loop.TLSConn) error {
			before.Store(hellos.Load())
			return echo(ctx, c)
		}
		addr := serve(t, l, h)
		good := established(t, l, addr)
		hello := clientHello(t)
		cs := strangers(t, l, addr, n)
		first := 0
		if begun {
			first = 1
			for _, c := range cs {
				send(t, c, string(hello[:first]))
			}
			eventually(t, "all handshakes have begun", func() bool { return l.Stats().JobsPaused == n })
		}
		hellos.Store(0)
		release := hold(t, l)
		for _, c := range cs {
			send(t, c, string(hello[first:]))
		}
		send(t, good, "y")
		release()
		expect(t, good, "y")
		if got := before.Load(); got > 2 {
			t.Errorf("handshakes begun %t: %d of %d went before the established connection", begun, got, n)
		}
		for _, c := range cs {
			c.Close()
		}
	}
}

// Clients that hold back the last byte of their hellos have no right to go before
// one that comes with a whole one.
func TestPrimedHandshakes(t *testing.T) {
	const n = 100
	var mu sync.Mutex
	var order []string // of clients whose hello is there
	l := newLoop(t, loop.Config{})
	h := tlsEcho()
	h.Config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, info.Conn.RemoteAddr().String())
		return nil, nil
	}
	addr := serve(t, l, h)
	hello := clientHello(t)
	cs := strangers(t, l, addr, n)
	for _, c := range cs {
		send(t, c, string(hello[:len(hello)-1]))
	}
	eventually(t, "all have a job", func() bool { return l.Stats().JobsPaused == n })
	honest := strangers(t, l, addr, 1)[0]
	release := hold(t, l)
	for _, c := range cs {
		send(t, c, string(hello[len(hello)-1:]))
	}
	send(t, honest, string(hello)) // the last to come
	release()
	eventually(t, "all are served", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) == n+1
	})
	if got := slices.Index(order, honest.LocalAddr().String()); got > 2 {
		t.Errorf("%d of %d went before", got, n)
	}
}

// However much those who are served before ask for, there is a part of each turn
// for new connections.
func TestNewAreNotStarved(t *testing.T) {
	const olds, news = 20, 100
	l := newLoop(t, loop.Config{})
	busy := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		for c.Readable() {
			if err := echoOnce(c); err != nil {
				return err
			}
			for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
			}
		}
		return c.Park(nil)
	})
	addr := serve(t, l, busy)
	for range olds {
		c := connect(t, addr)
		go func() {
			b := make([]byte, 1)
			for {
				if _, err := c.Write(b); err != nil {
					return
				}
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
			}
		}()
	}
	eventually(t, "all are busy", func() bool { return l.Stats().JobsStarted > 5*olds })
	var served atomic.Int64
	idle := serve(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		served.Add(1)
		return c.Park(echo)
	}))
	release := hold(t, l)
	for range news {
		connect(t, idle)
	}
	turns := l.Stats().Turns
	release()
	eventually(t, "all are served", func() bool { return served.Load() == news })
	if n := l.Stats().Turns - turns; n > news/2 {
		t.Errorf("%d new connections were served in %d turns", news, n)
	}
}

// A function of Go's does not wait behind all strangers either.
func TestGoBeforeNew(t *testing.T) {
	var hellos atomic.Int64
	l := newLoop(t, loop.Config{})
	h := tlsEcho()
	h.OnHello = func(*loop.TLSConn) { hellos.Add(1) }
	addr := serve(t, l, h)
	cs := strangers(t, l, addr, 100)
	hello := clientHello(t)
	release := hold(t, l)
	for _, c := range cs {
		send(t, c, string(hello))
	}
	done := spawn(t, l, func(context.Context) error {
		if n := hellos.Load(); n > 2 {
			t.Errorf("%d handshakes went before", n)
		}
		return nil
	})
	release()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// However long the functions of Go's that wait take, a handshake goes on in each
// turn.
func TestGoDoesNotStarveHandshakes(t *testing.T) {
	l := newLoop(t, loop.Config{})
	addr := serve(t, l, tlsEcho())
	var stop atomic.Bool
	var again func(context.Context) error
	again = func(context.Context) error {
		for began := time.Now(); time.Since(began) < time.Millisecond; { // more than a turn's share
		}
		if stop.Load() {
			return nil
		}
		return l.Post(func() { go l.Go(again) }) // from outside, or it were a helper
	}
	for range 50 {
		if err := l.Go(again); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		c := tls.Client(connect(t, addr), clientConfig())
		send(t, c, "x")
		expect(t, c, "x")
		c.Close()
	}
	stop.Store(true)
}

// Connections that have sent a part of their hello cannot use up the jobs of one
// that has been served.
func TestJobsForTheEstablished(t *testing.T) {
	const most = 8
	l := newLoop(t, loop.Config{MaxJobs: most})
	addr := serve(t, l, tlsEcho())
	good := established(t, l, addr)
	for range 2 * most {
		send(t, connect(t, addr), "\x16")
	}
	eventually(t, "strangers have all the jobs they can have", func() bool { return settle(t, l).JobsPaused == most-1 })
	for range 3 {
		send(t, good, "y")
		expect(t, good, "y")
	}
}

// Where nobody is parked there is nobody to keep jobs for.
func TestAllJobsForNew(t *testing.T) {
	const most = 8
	l := newLoop(t, loop.Config{MaxJobs: most})
	addr := serve(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echoOnce(c) }))
	cs := make([]net.Conn, most)
	for i := range cs {
		cs[i] = connect(t, addr)
	}
	eventually(t, "every job is in use", func() bool { return settle(t, l).JobsPaused == most })
	for _, c := range cs {
		send(t, c, "x")
		expect(t, c, "x")
	}
}

// A connection that goes over to TLS is new once.
func TestStartTLSIsAdmittedOnce(t *testing.T) {
	l := newLoop(t, loop.Config{})
	h := tlsEcho()
	addr := serve(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error { return h.Serve(ctx, c) }))
	established(t, l, addr)
	var n uint64
	for _, c := range settle(t, l).Waits.Counts {
		n += c
	}
	if n != 1 {
		t.Errorf("it was served %d times as a new one", n)
	}
}

// What a parked connection counts as does not change while it is parked.
func TestReserveDoesNotDrift(t *testing.T) {
	const most = 4
	l := newLoop(t, loop.Config{MaxJobs: most})
	parkedOnes := make(chan *loop.Conn, 1)
	addr := serve(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		for c.Readable() {
			if err := echoOnce(c); err != nil {
				return err
			}
			select {
			case parkedOnes <- c:
			default:
			}
		}
		return c.Park(nil)
	}))
	c := connect(t, addr)
	send(t, c, "x")
	lc := receive(t, parkedOnes)
	parked(t, l, 1)
	call(t, l, func() { loop.TLSServer(lc, serverConfig()) })
	c.Close()
	eventually(t, "it is closed", func() bool { return settle(t, l).Conns == 0 })
	reading := serve(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echoOnce(c) }))
	for range most {
		connect(t, reading)
	}
	eventually(t, "no job is kept for it", func() bool { return settle(t, l).JobsPaused == most })
}
