package loop_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// answering answers one request with its loop's end in sight or not.
var answering = loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
	if err := readAll(c, "work"); err != nil {
		return err
	}
	_, err := io.WriteString(c, "done")
	return err
})

// Who has connected when a loop is shut down, or a listener closed, is served;
// who comes later is not.
func TestLastCall(t *testing.T) {
	const n = 100
	for _, network := range []string{"tcp", "unix"} {
		for _, how := range []string{"Shutdown", "Close"} {
			t.Run(network+" "+how, func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				address := "127.0.0.1:0"
				if network == "unix" {
					address = t.TempDir() + "/s"
				}
				ln, err := l.Listen(network, address, answering)
				if err != nil {
					t.Fatal(err)
				}
				release := hold(t, l)
				cs := make([]net.Conn, n)
				for i := range cs {
					cs[i] = testkit.Dial(t, ln.Addr())
					send(t, cs[i], "work")
				}
				ended := make(chan bool)
				go func() {
					defer close(ended)
					if how == "Shutdown" {
						looptest.ShutDown(t, l)
					}
				}()
				if how == "Close" {
					ln.Close()
				} else {
					testkit.Eventually(t, "it shuts down", l.ShuttingDown)
				}
				release()
				for _, c := range cs {
					testkit.WantRead(t, c, "done")
					c.Close()
				}
				testkit.Receive(t, ended)
				testkit.Eventually(t, "nobody is served any more", func() bool {
					c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
					if err == nil {
						c.Close()
					}
					return err != nil
				})
			})
		}
	}
}

// A client whose handshake, or whose first request, is on its way when the loop
// is shut down is served.
func TestLastCallTLS(t *testing.T) {
	for _, begun := range []string{"connected", "hello", "handshake"} {
		t.Run(begun, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			var jobs atomic.Int64
			h := tlsEcho()
			handler := h.Handler
			h.Handler = func(ctx context.Context, c *loop.TLSConn) error {
				jobs.Add(1)
				return handler(ctx, c)
			}
			addr := looptest.Listen(t, l, h)
			raw := testkit.Dial(t, addr)
			c := tls.Client(raw, clientConfig())
			switch begun {
			case "connected":
				testkit.Eventually(t, "it is accepted", func() bool { return l.Stats().Conns == 1 })
			case "hello":
				slow := &secondWrite{Conn: raw, reached: make(chan bool), on: make(chan bool)}
				c = tls.Client(slow, clientConfig())
				go c.Handshake()
				testkit.Receive(t, slow.reached)
				defer close(slow.on)
			case "handshake":
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				testkit.Eventually(t, "it is parked", func() bool { return jobs.Load() == 1 && looptest.Settle(t, l).JobsPaused == 0 })
			}
			release := hold(t, l)
			ended := make(chan bool)
			go func() {
				defer close(ended)
				looptest.ShutDown(t, l)
			}()
			testkit.Eventually(t, "it shuts down", l.ShuttingDown)
			release()
			if begun == "hello" {
				c.NetConn().(*secondWrite).on <- true
			}
			send(t, c, "x")
			testkit.WantRead(t, c, "x")
			// It is parked, and told.
			expectEOF(t, c)
			c.Close()
			testkit.Receive(t, ended)
		})
	}
}

// secondWrite stops before the second Write until it may go on.
type secondWrite struct {
	net.Conn
	n           int
	reached, on chan bool
}

func (c *secondWrite) Write(p []byte) (int, error) {
	if c.n++; c.n == 2 {
		close(c.reached)
		<-c.on
	}
	return c.Conn.Write(p)
}

// Clients who have connected and say nothing do not delay Shutdown for as long as
// their handshake may take.
func TestLastCallForTheSilent(t *testing.T) {
	l := looptest.New(t, loop.Config{IdleTimeout: time.Hour})
	h := tlsEcho()
	h.HandshakeTimeout = time.Hour
	told := make(chan error, 3)
	h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) { told <- err }
	addr := looptest.Listen(t, l, h)
	cs := strangers(t, l, addr, 3)
	looptest.ShutDown(t, l)
	for _, c := range cs {
		if err := testkit.Receive(t, told); err == nil {
			t.Error("a handshake without a client")
		}
		expectEOF(t, c)
	}
}

// A listener may be closed while its loop shuts down. Who connects in between is served.
func TestCloseInShutdown(t *testing.T) {
	testkit.CheckLeaks(t)
	var ln *loop.Listener
	late := make(chan net.Conn, 1)
	var once atomic.Bool
	l := looptest.NewIdle(t, loop.Config{MaxJobs: 1, Accept: func(net.Addr) bool {
		if once.CompareAndSwap(false, true) {
			late <- testkit.Dial(t, ln.Addr())
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
		return true
	}})
	var err error
	if ln, err = l.Listen("tcp", "127.0.0.1:0", answering); err != nil {
		t.Fatal(err)
	}
	ran := run(t, l, context.Background())
	goOn, begun := make(chan bool), make(chan bool)
	if err := l.Go(func(ctx context.Context) error { // keeps others from being accepted
		close(begun)
		return loop.Await(ctx, func(done func()) { go func() { <-goOn; done() }() })
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, begun)
	c := testkit.Dial(t, ln.Addr())
	down := make(chan error, 1)
	go func() { down <- l.Shutdown(context.Background()) }()
	testkit.Eventually(t, "it shuts down", l.ShuttingDown)
	close(goOn)
	for _, c := range []net.Conn{c, testkit.Receive(t, late)} {
		send(t, c, "work")
		testkit.WantRead(t, c, "done")
		c.Close()
	}
	if err := testkit.Receive(t, down); err != nil {
		t.Error(err)
	}
	wantEnd(t, ran, nil)
}
