package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/loop"
)

// server is the proxy, as its clients see it.
type server struct {
	t     *testing.T
	g     *loop.Group
	addr  net.Addr
	roots *x509.CertPool
}

// start runs the proxy on one loop, and serve for each connection of the backend. If
// serve is nil, there is no backend.
func start(t *testing.T, serve func(c *net.TCPConn)) *server {
	return startWith(t, loop.Config{}, 2*testkit.Patience, serve)
}

func startWith(t *testing.T, cfg loop.Config, idle time.Duration, serve func(c *net.TCPConn)) *server {
	t.Helper()
	testkit.CheckLeaks(t)
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if serve == nil {
		backend.Close()
	} else {
		t.Cleanup(func() { backend.Close() })
		go func() {
			for {
				c, err := backend.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					c.SetDeadline(time.Now().Add(2 * testkit.Patience))
					serve(c.(*net.TCPConn))
				}()
			}
		}()
	}
	cfg.MaxWait, cfg.BlockedAfter = -1, -1 // the machine may be busy
	g, err := loop.NewGroup(1, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, g: g}
	certFile, keyFile, roots := testcert.RSA(t)
	s.roots = roots
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, g, "127.0.0.1:0", certFile, keyFile, backend.Addr().String(), idle, func(a net.Addr) { at <- a })
	}()
	select {
	case s.addr = <-at:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := testkit.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	return s
}

// config is what a client needs.
func (s *server) config() *tls.Config { return &tls.Config{RootCAs: s.roots, ServerName: "localhost"} }

// dial connects a client.
func (s *server) dial() *tls.Conn {
	s.t.Helper()
	c := tls.Client(testkit.Dial(s.t, s.addr), s.config())
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// Much comes through in both directions at once, unchanged.
func TestBothDirectionsAtOnce(t *testing.T) {
	up, down := random(16<<20), random(16<<20+1)
	received := make(chan bool, 1)
	c := start(t, func(c *net.TCPConn) {
		wrote := make(chan bool)
		go func() {
			defer close(wrote)
			c.Write(down)
			c.CloseWrite()
		}()
		b, err := io.ReadAll(c)
		received <- err == nil && bytes.Equal(b, up)
		<-wrote
	}).dial()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(up)
		wrote <- errors.Join(err, c.CloseWrite())
	}()
	b, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(b, down) {
		t.Errorf("the client got %d bytes, %v; want all of %d", len(b), err, len(down))
	}
	if err := testkit.Receive(t, wrote); err != nil {
		t.Error(err)
	}
	if !testkit.Receive(t, received) {
		t.Error("the backend got something else than what the client sent")
	}
}

// A client that has said all still gets the answer, and a backend that has said all
// still gets what the client sends.
func TestHalfClose(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		c := start(t, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c) // to the end, which must be passed on
			fmt.Fprintf(c, "%s is all?", b)
		}).dial()
		fmt.Fprint(c, "hello")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if string(b) != "hello is all?" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("backend", func(t *testing.T) {
		received := make(chan string, 1)
		c := start(t, func(c *net.TCPConn) {
			fmt.Fprint(c, "I listen")
			c.CloseWrite()
			b, err := io.ReadAll(c)
			received <- fmt.Sprint(string(b), " ", err)
		}).dial()
		b, err := io.ReadAll(c)
		if string(b) != "I listen" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		fmt.Fprint(c, "hello")
		c.CloseWrite()
		if got := testkit.Receive(t, received); got != "hello <nil>" {
			t.Error(got)
		}
	})
}

// When one direction fails, the other ends, and nobody takes a part for the whole.
func TestFailure(t *testing.T) {
	t.Run("backend resets", func(t *testing.T) {
		c := start(t, func(c *net.TCPConn) {
			fmt.Fprint(c, "the first half")
			io.ReadFull(c, make([]byte, 1))
			testkit.Reset(c)
		}).dial()
		testkit.WantRead(t, c, "the first half")
		fmt.Fprint(c, "x")
		if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
			t.Errorf("%q, %v; want an error", b, err)
		}
	})
	t.Run("client resets", func(t *testing.T) {
		ended := make(chan error, 1)
		c := start(t, func(c *net.TCPConn) {
			fmt.Fprint(c, "x")
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}).dial()
		testkit.WantRead(t, c, "x")
		testkit.Reset(c.NetConn())
		if err := testkit.Receive(t, ended); err == nil {
			t.Error("the backend read io.EOF, want an error")
		}
	})
}

// Without a backend, a client is told so by a reset.
func TestBackendDown(t *testing.T) {
	c := start(t, nil).dial()
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("%q, %v; want an error", b, err)
	}
}
