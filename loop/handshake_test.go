package loop_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// awaitingKey is a key whose signatures never come, as of an engine that hangs.
type awaitingKey struct {
	crypto.Signer
	ctx    context.Context
	asked  chan bool
	result chan error
}

func (k *awaitingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	k.asked <- true
	err := loop.Await(k.ctx, func(func()) {})
	k.result <- err
	return nil, err
}

// HandshakeTimeout ends a handshake wherever it waits, and OnHandshake is told
// so, with the time since the accept.
func TestHandshakeTimeoutWherever(t *testing.T) {
	const timeout = 30 * time.Millisecond
	type end struct {
		took time.Duration
		err  error
	}
	handler := func(ended chan end) *loop.TLSHandler {
		h := tlsEcho()
		h.HandshakeTimeout = timeout
		h.OnHandshake = func(_ *loop.TLSConn, took time.Duration, err error) { ended <- end{took, err} }
		return h
	}
	check := func(t *testing.T, ended chan end) {
		t.Helper()
		if e := testkit.Receive(t, ended); !errors.Is(e.err, os.ErrDeadlineExceeded) || e.took < timeout {
			t.Errorf("ended after %v: %v", e.took, e.err)
		}
	}
	t.Run("first byte", func(t *testing.T) {
		l := looptest.New(t, loop.Config{})
		ended := make(chan end, 1)
		c := testkit.Dial(t, looptest.Listen(t, l, handler(ended)))
		expectEOF(t, c)
		check(t, ended)
		if s := looptest.Settle(t, l); s.JobsStarted != 0 {
			t.Errorf("%d jobs were started for a client that says nothing", s.JobsStarted)
		}
	})
	t.Run("queue", func(t *testing.T) {
		queued := false
		for wait := timeout; !queued; wait *= 2 { // until then it has to come into the queue
			l := looptest.New(t, loop.Config{MaxJobs: 1})
			ended := make(chan end, 1)
			h := handler(ended)
			h.HandshakeTimeout = wait
			addr := looptest.Listen(t, l, h)
			release := make(chan bool)
			c := testkit.Dial(t, addr)
			testkit.Eventually(t, "it is accepted", func() bool { return looptest.Settle(t, l).Accepted == 1 })
			full := looptest.Spawn(t, l, func(ctx context.Context) error {
				return loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
			})
			testkit.Eventually(t, "the loop is full", func() bool { return looptest.Settle(t, l).JobsPaused == 1 })
			c.Write(clientHello(t)) // it fails if the connection has ended before
			testkit.Eventually(t, "the handshake's job waits, or it is too late", func() bool {
				queued = looptest.Settle(t, l).JobsQueued == 1
				return queued || len(ended) == 1
			})
			check(t, ended) // although the loop is full still
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is open still")
			}
			close(release)
			if err := testkit.Receive(t, full); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("engine", func(t *testing.T) {
		asked := false
		for wait := timeout; !asked; wait *= 2 { // until then it has to come to the engine
			l := looptest.New(t, loop.Config{})
			ended := make(chan end, 1)
			h := handler(ended)
			h.HandshakeTimeout = wait
			k := &awaitingKey{asked: make(chan bool, 1), result: make(chan error, 1)}
			cert := serverConfig().Certificates[0]
			k.Signer = cert.PrivateKey.(crypto.Signer)
			h.Config = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				bound := cert
				k.ctx = context.WithoutCancel(hello.Context())
				bound.PrivateKey = k
				return &bound, nil
			}}
			c := tls.Client(testkit.Dial(t, looptest.Listen(t, l, h)), clientConfig())
			go c.Handshake()
			check(t, ended)
			if asked = len(k.asked) == 1; !asked {
				continue
			}
			if err := testkit.Receive(t, k.result); !errors.Is(err, jobs.ErrCanceled) {
				t.Errorf("the engine's wait ended with %v", err)
			}
		}
	})
}

// OnHandshake and OnClose are called once for each connection that was accepted,
// in this order, and OnClose not before its handler has returned.
func TestTLSHooks(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	events := make(chan string, 100)
	h := &loop.TLSHandler{Config: serverConfig()}
	h.OnHello = func(*loop.TLSConn) { events <- "hello" }
	h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) {
		if err != nil {
			events <- "failed"
		} else {
			events <- "handshake"
		}
	}
	h.OnClose = func(*loop.TLSConn) { events <- "close" }
	h.Handler = func(ctx context.Context, c *loop.TLSConn) error {
		c.Close()
		err := loop.Sleep(ctx, time.Millisecond)
		events <- "returned"
		return err
	}
	addr := looptest.Listen(t, l, h)
	want := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if e := testkit.Receive(t, events); e != name {
				t.Fatalf("%s, want %s", e, name)
			}
		}
	}
	c := tls.Client(testkit.Dial(t, addr), clientConfig())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	want("hello", "handshake", "returned", "close")
	wordless := testkit.Dial(t, addr)
	testkit.Eventually(t, "it is accepted", func() bool { return looptest.Settle(t, l).Conns == 1 })
	wordless.Close()
	want("hello", "failed", "close")
	garbage := testkit.Dial(t, addr)
	send(t, garbage, "GET / HTTP/1.1\r\n\r\n")
	want("hello", "failed", "close")
	silent := testkit.Dial(t, addr)
	testkit.Eventually(t, "it is accepted", func() bool { return looptest.Settle(t, l).Conns == 1 })
	l.Close()
	want("failed", "close")
	expectEOF(t, silent)
	if len(events) > 0 {
		t.Errorf("and %s", <-events)
	}
}

// Handshakes that a shutdown ends are reported so: of clients that have sent nothing, and
// of those that have sent a part of their hello.
func TestHandshakeShutdown(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	ended := make(chan error, 2)
	h := tlsEcho()
	h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) { ended <- err }
	addr := looptest.Listen(t, l, h)
	for _, hello := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
		c := testkit.Dial(t, addr)
		defer c.Close()
		send(t, c, hello)
	}
	testkit.Eventually(t, "both are there", func() bool { return looptest.Settle(t, l).Conns == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l.Close()
	for range 2 {
		testkit.WantErr(t, testkit.Receive(t, ended), loop.ErrShutdown)
	}
}

// A handshake in which the user's code panics, or ends its goroutine, has ended too.
func TestHandshakePanics(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{Logger: silent()})
	for what, bad := range map[string]func(){
		"panic":  func() { panic("in GetConfigForClient") },
		"Goexit": runtime.Goexit,
	} {
		ended := make(chan error, 2)
		h := tlsEcho()
		h.Config = h.Config.Clone()
		h.Config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { bad(); return nil, nil }
		h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) { ended <- err }
		c := tls.Client(testkit.Dial(t, looptest.Listen(t, l, h)), clientConfig())
		if err := c.Handshake(); err == nil {
			t.Errorf("%s: the client's handshake succeeded", what)
		}
		c.Close()
		if err := testkit.Receive(t, ended); err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: OnHandshake got %v", what, err)
		}
		if looptest.Settle(t, l); len(ended) > 0 {
			t.Errorf("%s: OnHandshake was called again", what)
		}
	}
}
