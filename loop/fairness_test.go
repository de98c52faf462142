package loop_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A peer that is never slower than its job, in either direction, does not keep
// the loop to itself.
func TestFastPeerIsNotAlone(t *testing.T) {
	zeros := make([]byte, 64<<10)
	for name, h := range map[string]loop.HandlerFunc{
		"reads": func(_ context.Context, c *loop.Conn) error {
			for b := make([]byte, 1); ; {
				if _, err := c.Read(b); err != nil {
					return err
				}
			}
		},
		"writes": func(_ context.Context, c *loop.Conn) error {
			for {
				if _, err := c.Write(zeros[:1]); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			busy := looptest.Listen(t, l, h)
			other := looptest.Listen(t, l, echo)
			peer := testkit.Dial(t, busy)
			ended := make(chan bool)
			go func() { // fast enough
				defer close(ended)
				if name == "reads" {
					for {
						if _, err := peer.Write(zeros); err != nil {
							return
						}
					}
				}
				io.Copy(io.Discard, peer)
			}()
			c := testkit.Dial(t, other)
			for range 50 {
				send(t, c, "echo")
				testkit.WantRead(t, c, "echo")
				looptest.Call(t, l, func() {})
			}
			looptest.Must(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, 1) })
			testkit.Reset(peer)
			testkit.Receive(t, ended)
		})
	}
}

// TestFastPeerIsNotAlone with TLS.
func TestTLSFastPeerIsNotAlone(t *testing.T) {
	for name, serve := range map[string]func(c *loop.TLSConn, b []byte) (int, error){
		"reads":  (*loop.TLSConn).Read,
		"writes": (*loop.TLSConn).Write,
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			began := make(chan bool, 1)
			busy := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
				began <- true
				for b := make([]byte, 1); ; {
					if _, err := serve(c, b); err != nil {
						return err
					}
				}
			}})
			peer := tls.Client(testkit.Dial(t, busy), clientConfig())
			if err := peer.Handshake(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan bool)
			go func() { // fast enough
				defer close(ended)
				if name == "reads" {
					for b := make([]byte, 64<<10); ; {
						if _, err := peer.Write(b); err != nil {
							return
						}
					}
				}
				io.Copy(io.Discard, peer)
			}()
			testkit.Receive(t, began)
			for range 50 {
				looptest.Call(t, l, func() {})
			}
			testkit.Reset(peer.NetConn())
			testkit.Receive(t, ended)
		})
	}
}

// The operations of one job between two turns of the loop are bounded.
func TestFairShare(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	full := make(chan bool)
	reads := 0
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		<-full // all its bytes are there
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				return nil
			}
			reads++
		}
	})
	const n = 1000
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	var seen []int
	var look func()
	look = func() { // once a turn
		seen = append(seen, reads)
		if reads < n {
			l.Post(look)
		}
	}
	if err := l.Post(look); err != nil {
		t.Fatal(err)
	}
	close(full)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	looptest.Call(t, l, func() {
		for i := 1; i < len(seen); i++ {
			if d := seen[i] - seen[i-1]; d > 64 {
				t.Errorf("%d reads in one turn", d)
			}
		}
	})
}
