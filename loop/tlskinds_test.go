package loop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/internal/testkit/tlspeer"
	"github.com/jobloop/jobloop/loop"
)

// What tests that compare TLS on a loop with TLS on goroutines have in common: both
// kinds of server, clients whose kernel keeps little, and a stream whose bytes can be
// checked.

// connectTLS is connect of a tlspeer.Peer, whose kernel keeps little for it, so that a
// server soon meets one that does not read.
func connectTLS(t testing.TB, addr net.Addr) *tlspeer.Peer {
	t.Helper()
	raw, err := dialSmall(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	p, err := tlspeer.New(raw, clientConfig())
	if errors.Is(err, tlspeer.ErrSuite) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return p
}

// dialSmall dials with small buffers.
func dialSmall(addr net.Addr) (net.Conn, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(2 * testkit.Patience)) // the longest of these tests takes seconds
	c.(*net.TCPConn).SetReadBuffer(smallBuffer)
	c.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	return c, nil
}

// smallBuffer is what socket buffers are set to. Systems double it, or more, and
// round it.
const smallBuffer = 64 << 10

// secured is a TLS connection as the tests' servers see it: a *loop.TLSConn or a
// *tls.Conn.
type secured interface {
	net.Conn
	CloseWrite() error
}

// session is a connection of a server that runs jobs or goroutines.
type session struct {
	secured
	beside func(func()) error          // runs a function in another of them
	wait   func(<-chan struct{}) error // waits
}

// tlsKind is a kind of server. It serves sessions by h, and closes them when h
// returns.
type tlsKind struct {
	name  string
	loop  *loop.Loop
	serve func(t testing.TB, h func(s session)) net.Addr
}

// loopKind serves jobs on l.
func loopKind(l *loop.Loop) tlsKind {
	return tlsKind{"loop", l, func(t testing.TB, h func(s session)) net.Addr {
		return looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(ctx context.Context, c *loop.TLSConn) error {
			if err := c.NetConn().SetWriteBuffer(smallBuffer); err != nil {
				return err
			}
			h(session{c,
				func(f func()) error {
					return l.Go(func(context.Context) error { f(); return nil })
				},
				func(done <-chan struct{}) error {
					return loop.Await(ctx, func(wake func()) { go func() { <-done; wake() }() })
				},
			})
			return nil
		}})
	}}
}

// goroutineKind is what the loop has to behave like.
func goroutineKind() tlsKind {
	return tlsKind{"goroutines", nil, func(t testing.TB, h func(s session)) net.Addr {
		testkit.CheckLeaks(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		t.Cleanup(func() { ln.Close(); all.Wait() })
		all.Go(func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { raw.Close() }) // ends what a failed test has left
				all.Go(func() {
					raw.(*net.TCPConn).SetWriteBuffer(smallBuffer)
					c := tls.Server(raw, serverConfig())
					defer c.Close()
					if err := c.Handshake(); err != nil {
						return
					}
					h(session{c,
						func(f func()) error { all.Go(f); return nil },
						func(done <-chan struct{}) error { <-done; return nil },
					})
				})
			}
		})
		return ln.Addr()
	}}
}

// bothKinds runs a test with each kind of server.
func bothKinds(t *testing.T, cfg loop.Config, f func(t *testing.T, k tlsKind)) {
	t.Run("goroutines", func(t *testing.T) { f(t, goroutineKind()) })
	t.Run("loop", func(t *testing.T) { f(t, loopKind(looptest.New(t, cfg))) })
}

// class tells errors apart, but for their addresses and for who is told first of a
// reset.
func class(err error) string {
	var oe *net.OpError
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &oe):
		return oe.Op + ": " + oe.Err.Error()
	}
	return err.Error()
}

// patternBytes is what the streams of the tests repeat. Its length has no factor in
// common with those of records and buffers.
var patternBytes = sync.OnceValue(func() []byte {
	b := make([]byte, 1_000_003)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// fillPattern fills b with what a stream has at offset off.
func fillPattern(b []byte, off int64) {
	for p := patternBytes(); len(b) > 0; {
		n := copy(b, p[off%int64(len(p)):])
		b, off = b[n:], off+int64(n)
	}
}

// isPattern reports whether b is what fillPattern makes.
func isPattern(b []byte, off int64) bool {
	for p := patternBytes(); len(b) > 0; {
		want := p[off%int64(len(p)):]
		n := min(len(b), len(want))
		if !bytes.Equal(b[:n], want[:n]) {
			return false
		}
		b, off = b[n:], off+int64(n)
	}
	return true
}

// readPattern reads the pattern until r ends, and returns how much that was.
func readPattern(t testing.TB, r io.Reader) (n int64, err error) {
	t.Helper()
	buf := make([]byte, 32<<10)
	for {
		m, err := r.Read(buf)
		if !isPattern(buf[:m], n) {
			t.Fatalf("bytes %d to %d of the stream are wrong", n, n+int64(m))
		}
		if n += int64(m); err != nil {
			return n, err
		}
	}
}
