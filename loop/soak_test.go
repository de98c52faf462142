package loop_test

import (
	"crypto/tls"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/loop"
)

var soak = flag.Int("soak", 2000, "TLS connections that TestSoak makes")

// Clients that go at any moment of a TLS connection, politely or not. At the
// end nothing of them is left: descriptors, goroutines, jobs. No timeout helps.
func TestSoak(t *testing.T) {
	g := newGroup(t, 2, loop.Config{MaxJobs: 100, IdleTimeout: -1, WriteTimeout: -1, LingerTimeout: time.Hour})
	h := tlsEcho()
	h.HandshakeTimeout = time.Hour
	ln, err := g.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	hello := clientHello(t)
	cfg := clientConfig()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	var next, echoed atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for next.Add(1) <= int64(*soak) {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(testkit.Patience))
				if visit(t, c, cfg, hello) {
					echoed.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if echoed.Load() == 0 {
		t.Error("no connection got as far as its echo")
	}
	testkit.Eventually(t, "no connection and no job is left", func() bool {
		s := g.Stats()
		return s.Conns == 0 && s.JobsPaused == 0 && s.JobsQueued == 0 && s.JobsStarted == s.JobsFinished
	})
	t.Logf("%d of %d connections echoed; %+v", echoed.Load(), *soak, g.Stats())
}

// visit is one client. It reports whether it got its echo.
func visit(t *testing.T, c net.Conn, cfg *tls.Config, hello []byte) (echoed bool) {
	if rand.IntN(2) == 0 {
		c.(*net.TCPConn).SetLinger(0) // it goes with a RST
	}
	defer c.Close()
	switch rand.IntN(8) {
	case 0: // before its hello
		return false
	case 1: // in it
		c.Write(hello[:rand.IntN(len(hello))])
		return false
	case 2: // after it, or with a part of the answer
		c.Write(hello)
		if rand.IntN(2) == 0 {
			c.Read(make([]byte, 1+rand.IntN(2000))) // the answer may be shorter, and nobody ends this
		}
		return false
	case 3: // anywhere in the handshake
		c = &vanishing{c, 1 + rand.IntN(3)}
	}
	tc := tls.Client(c, cfg)
	if err := tc.Handshake(); err != nil {
		if _, ok := c.(*vanishing); !ok {
			t.Errorf("handshake: %v", err)
		}
		return false
	}
	for range rand.IntN(3) {
		b := make([]byte, 1+rand.IntN(20_000))
		if _, err := tc.Write(b); err != nil {
			return false
		}
		if _, err := io.ReadFull(tc, b); err != nil {
			return false
		}
		echoed = true
	}
	if rand.IntN(2) == 0 {
		tc.Close()
	}
	return echoed
}

// vanishing is a connection that breaks at one of its first operations.
type vanishing struct {
	net.Conn
	left int
}

func (c *vanishing) Write(p []byte) (int, error) {
	if c.left--; c.left <= 0 {
		n, _ := c.Conn.Write(p[:rand.IntN(len(p))])
		c.Conn.Close()
		return n, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *vanishing) Read(p []byte) (int, error) {
	if c.left--; c.left <= 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Read(p)
}
