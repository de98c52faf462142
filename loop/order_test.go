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

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
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
	testkit.Receive(t, held)
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
	had := looptest.Settle(t, l).Conns
	cs := make([]net.Conn, n)
	for i := range cs {
		cs[i] = testkit.Dial(t, addr)
	}
	testkit.Eventually(t, "all are accepted", func() bool { return l.Stats().Conns == had+uint64(n) })
	return cs
}

// established is a connection whose handshake is done, and which is parked.
func established(t testing.TB, l *loop.Loop, addr net.Addr) *tls.Conn {
	t.Helper()
	c := tls.Client(testkit.Dial(t, addr), clientConfig())
	send(t, c, "x")
	testkit.WantRead(t, c, "x")
	testkit.Eventually(t, "it is parked", func() bool { s := looptest.Settle(t, l); return s.JobsStarted == s.JobsFinished })
	return c
}

// What is in progress goes before what is new: an established connection is not
// served behind the handshakes of strangers, whether they begin or go on.
func TestEstablishedBeforeNew(t *testing.T) {
	const n = 1000 // several times what the poller tells at a time
	for _, begun := range []bool{false, true} {
		var hellos, before atomic.Int64
		l := looptest.New(t, loop.Config{})
		h := tlsEcho()
		h.Config = h.Config.Clone() // other tests, and loops that end, use that one
		h.Config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			hellos.Add(1)
			return nil, nil
		}
		echo := h.Handler
		h.Handler = func(ctx context.Context, c *loop.TLSConn) error {
			before.Store(hellos.Load())
			return echo(ctx, c)
		}
		addr := looptest.Listen(t, l, h)
		good := established(t, l, addr)
		hello := clientHello(t)
		cs := strangers(t, l, addr, n)
		first := 0
		if begun {
			first = 1
			for _, c := range cs {
				send(t, c, string(hello[:first]))
			}
			testkit.Eventually(t, "all handshakes have begun", func() bool { return l.Stats().JobsPaused == n })
		}
		hellos.Store(0)
		release := hold(t, l)
		for _, c := range cs {
			send(t, c, string(hello[first:]))
		}
		send(t, good, "y")
		release()
		testkit.WantRead(t, good, "y")
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
	l := looptest.New(t, loop.Config{})
	h := tlsEcho()
	h.Config = h.Config.Clone() // other tests, and loops that end, use that one
	h.Config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, info.Conn.RemoteAddr().String())
		return nil, nil
	}
	addr := looptest.Listen(t, l, h)
	hello := clientHello(t)
	cs := strangers(t, l, addr, n)
	for _, c := range cs {
		send(t, c, string(hello[:len(hello)-1]))
	}
	testkit.Eventually(t, "all have a job", func() bool { return l.Stats().JobsPaused == n })
	honest := strangers(t, l, addr, 1)[0]
	release := hold(t, l)
	for _, c := range cs {
		send(t, c, string(hello[len(hello)-1:]))
	}
	send(t, honest, string(hello)) // the last to come
	release()
	testkit.Eventually(t, "all are served", func() bool {
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
	l := looptest.New(t, loop.Config{})
	busy := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		// Not for as long as it is readable: it may always be.
		if err := echoOnce(c); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
		}
		return c.Park(nil)
	})
	addr := looptest.Listen(t, l, busy)
	for range olds {
		c := testkit.Dial(t, addr)
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
	testkit.Eventually(t, "all are busy", func() bool { return l.Stats().JobsStarted > 5*olds })
	var served atomic.Int64
	idle := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		served.Add(1)
		return c.Park(echo)
	}))
	release := hold(t, l)
	for range news {
		testkit.Dial(t, idle)
	}
	turns := l.Stats().Turns
	release()
	testkit.Eventually(t, "all are served", func() bool { return served.Load() == news })
	if n := l.Stats().Turns - turns; n > news/2 {
		t.Errorf("%d new connections were served in %d turns", news, n)
	}
}

// A function of Go's does not wait behind all strangers either.
func TestGoBeforeNew(t *testing.T) {
	var hellos atomic.Int64
	l := looptest.New(t, loop.Config{})
	h := tlsEcho()
	h.OnHello = func(*loop.TLSConn) { hellos.Add(1) }
	addr := looptest.Listen(t, l, h)
	cs := strangers(t, l, addr, 100)
	hello := clientHello(t)
	release := hold(t, l)
	for _, c := range cs {
		send(t, c, string(hello))
	}
	done := looptest.Spawn(t, l, func(context.Context) error {
		if n := hellos.Load(); n > 2 {
			t.Errorf("%d handshakes went before", n)
		}
		return nil
	})
	release()
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// However long the functions of Go's that wait take, a handshake goes on in each
// turn.
func TestGoDoesNotStarveHandshakes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, tlsEcho())
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
		c := tls.Client(testkit.Dial(t, addr), clientConfig())
		send(t, c, "x")
		testkit.WantRead(t, c, "x")
		c.Close()
	}
	stop.Store(true)
}

// Connections that have sent a part of their hello cannot use up the jobs of one
// that has been served.
func TestJobsForTheEstablished(t *testing.T) {
	const most = 8
	l := looptest.New(t, loop.Config{MaxJobs: most})
	addr := looptest.Listen(t, l, tlsEcho())
	good := established(t, l, addr)
	for range 2 * most {
		send(t, testkit.Dial(t, addr), "\x16")
	}
	testkit.Eventually(t, "strangers have all the jobs they can have", func() bool { return looptest.Settle(t, l).JobsPaused == most-1 })
	for range 3 {
		send(t, good, "y")
		testkit.WantRead(t, good, "y")
	}
}

// Where nobody is parked there is nobody to keep jobs for.
func TestAllJobsForNew(t *testing.T) {
	const most = 8
	l := looptest.New(t, loop.Config{MaxJobs: most})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echoOnce(c) }))
	cs := make([]net.Conn, most)
	for i := range cs {
		cs[i] = testkit.Dial(t, addr)
	}
	testkit.Eventually(t, "every job is in use", func() bool { return looptest.Settle(t, l).JobsPaused == most })
	for _, c := range cs {
		send(t, c, "x")
		testkit.WantRead(t, c, "x")
	}
}

// A connection that goes over to TLS is new once.
func TestStartTLSIsAdmittedOnce(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	h := tlsEcho()
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error { return h.Serve(ctx, c) }))
	established(t, l, addr)
	var n uint64
	for _, c := range looptest.Settle(t, l).Waits.Counts {
		n += c
	}
	if n != 1 {
		t.Errorf("it was served %d times as a new one", n)
	}
}

// What a parked connection counts as does not change while it is parked.
func TestReserveDoesNotDrift(t *testing.T) {
	const most = 4
	l := looptest.New(t, loop.Config{MaxJobs: most})
	parkedOnes := make(chan *loop.Conn, 1)
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
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
	c := testkit.Dial(t, addr)
	send(t, c, "x")
	lc := testkit.Receive(t, parkedOnes)
	parked(t, l, 1)
	looptest.Call(t, l, func() { loop.TLSServer(lc, serverConfig()) })
	c.Close()
	testkit.Eventually(t, "it is closed", func() bool { return looptest.Settle(t, l).Conns == 0 })
	reading := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echoOnce(c) }))
	for range most {
		testkit.Dial(t, reading)
	}
	testkit.Eventually(t, "no job is kept for it", func() bool { return looptest.Settle(t, l).JobsPaused == most })
}
