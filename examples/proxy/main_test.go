package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// start runs the proxy on one loop, and serve for each connection of the backend. It
// returns a function that connects a client.
func start(t *testing.T, serve func(c *net.TCPConn)) (dial func() *tls.Conn) {
	t.Helper()
	testkit.CheckLeaks(t)
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if serve == nil {
		backend.Close() // nobody listens
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
					c.SetDeadline(time.Now().Add(testkit.Patience))
					serve(c.(*net.TCPConn))
				}()
			}
		}()
	}
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, backend.Addr().String(), 1, func(a net.Addr) { at <- a })
	}()
	var addr net.Addr
	select {
	case addr = <-at:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := testkit.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	return func() *tls.Conn {
		t.Helper()
		c := tls.Client(testkit.Dial(t, addr), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c
	}
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
	})()
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
		})()
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
		})()
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
		})()
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
		})()
		testkit.WantRead(t, c, "x")
		testkit.Reset(c.NetConn())
		if err := testkit.Receive(t, ended); err == nil {
			t.Error("the backend read io.EOF, want an error")
		}
	})
}

// Without a backend, a client is told so by a reset.
func TestBackendDown(t *testing.T) {
	c := start(t, nil)()
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("%q, %v; want an error", b, err)
	}
}

// A client that does not read what comes for it does not keep others waiting.
func TestClientThatDoesNotRead(t *testing.T) {
	var sent atomic.Int64 // to the client that does not read
	ended := make(chan bool, 1)
	dial := start(t, func(c *net.TCPConn) {
		kind := make([]byte, 1)
		io.ReadFull(c, kind)
		if kind[0] == 'e' {
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // without the kernel's pipes, which look like a leak
			return
		}
		for b := make([]byte, 64<<10); ; {
			n, err := c.Write(b)
			sent.Add(int64(n))
			if err != nil {
				ended <- true
				return
			}
		}
	})
	stalled := dial()
	fmt.Fprint(stalled, "f") // for a flood
	testkit.WantRead(t, stalled, "\x00")
	other := dial()
	fmt.Fprint(other, "e") // for an echo
	message := random(256 << 10)
	echo := func() {
		t.Helper()
		go other.Write(message)
		b := make([]byte, len(message))
		if _, err := io.ReadFull(other, b); err != nil || !bytes.Equal(b, message) {
			t.Fatalf("the other client did not get its message back: %v", err)
		}
	}
	testkit.Eventually(t, "nothing more is sent to the client that does not read", func() bool {
		before := sent.Load()
		echo()
		return sent.Load() == before
	})
	echo()
	stalled.NetConn().Close()
	testkit.Receive(t, ended)
}
