package httploop

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// FreeMemory counts from the last new connection: from its hello, and from the end of its
// handshake.
func TestFreeMemory(t *testing.T) {
	cert := testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "localhost")
	for name, cfg := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: []tls.Certificate{*cert}}} {
		t.Run(name, func(t *testing.T) {
			fresh := make(chan bool, 10)
			s := &Server{TLS: cfg, FreeMemory: time.Minute, Handler: func(*fasthttp.RequestCtx) {}}
			h, err := s.loopHandler(func(quiet time.Duration) func() {
				if quiet != time.Minute {
					t.Errorf("memory is given back after %v", quiet)
				}
				return func() { fresh <- true }
			})
			if err != nil {
				t.Fatal(err)
			}
			l := looptest.New(t, loop.Config{})
			c := testkit.Dial(t, looptest.Listen(t, l, h))
			defer c.Close()
			if cfg == nil {
				testkit.Receive(t, fresh)
				return
			}
			block := make(chan bool)
			tc := tls.Client(&blocking{Conn: c, until: block}, &tls.Config{InsecureSkipVerify: true})
			done := make(chan error, 1)
			go func() { done <- tc.HandshakeContext(context.Background()) }()
			testkit.Receive(t, fresh)
			close(block)
			testkit.Receive(t, fresh)
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}

// blocking blocks its second write, with the end of the handshake, until a channel is
// closed.
type blocking struct {
	net.Conn
	until  chan bool
	writes int
}

func (b *blocking) Write(p []byte) (int, error) {
	if b.writes++; b.writes == 2 {
		<-b.until
	}
	return b.Conn.Write(p)
}

// What came early is not kept once it has been read.
func TestAhead(t *testing.T) {
	a := ahead("early")
	b := make([]byte, 3)
	for _, want := range []string{"ear", "ly", ""} {
		if n := a.read(b); string(b[:n]) != want {
			t.Errorf("%q, want %q", b[:n], want)
		}
	}
	if a != nil {
		t.Error("the buffer is still there")
	}
}
