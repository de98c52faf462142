package loop_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// serverConfig has a certificate of its own.
var serverConfig = sync.OnceValue(func() *tls.Config {
	cert := testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "localhost")
	return &tls.Config{Certificates: []tls.Certificate{*cert}}
})

// clientConfig trusts serverConfig, and nothing else.
func clientConfig() *tls.Config {
	return &tls.Config{RootCAs: testkit.Roots(&serverConfig().Certificates[0]), ServerName: "localhost"}
}

// tlsEcho sends back what it reads, and keeps no job while there is nothing.
func tlsEcho() *loop.TLSHandler {
	return &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		for c.Readable() {
			if err := echoOnce(c); err != nil {
				return err
			}
		}
		return c.Park(nil)
	}}
}

func TestTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			addr := looptest.Listen(t, l, tlsEcho())
			cfg := clientConfig()
			cfg.MinVersion, cfg.MaxVersion = version, version
			big := make([]byte, 1<<20)
			rand.Read(big)
			var wg sync.WaitGroup
			for range 20 {
				c := tls.Client(testkit.Dial(t, addr), cfg)
				wg.Go(func() {
					defer c.Close()
					if err := c.Handshake(); err != nil {
						t.Errorf("handshake: %v", err)
						return
					}
					if v := c.ConnectionState().Version; v != version {
						t.Errorf("version %s", tls.VersionName(v))
					}
					for _, b := range [][]byte{[]byte("a"), big, []byte("b")} {
						got := make([]byte, len(b))
						written := make(chan error, 1)
						go func() { _, err := c.Write(b); written <- err }()
						if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, b) {
							t.Errorf("%d bytes came back different, error %v", len(b), err)
						}
						if err := <-written; err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			parked(t, l, 0)
		})
	}
}

// A silent client, and one that sends too slowly, end with the handshake's
// time, and hold no job, or one, until then.
func TestTLSHandshakeTimeout(t *testing.T) {
	hello := clientHello(t)
	for name, talk := range map[string]func(c net.Conn){
		"silent": func(net.Conn) {},
		"dribbles": func(c net.Conn) {
			for _, b := range hello[:len(hello)-1] {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // what it is about
			}
		},
		"stops in its hello": func(c net.Conn) { c.Write(hello[:20]) },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			h := tlsEcho()
			h.HandshakeTimeout = 30 * time.Millisecond
			c := testkit.Dial(t, looptest.Listen(t, l, h))
			talk(c)
			for {
				if _, err := c.Read(make([]byte, 100)); err != nil {
					var ne net.Error
					if errors.As(err, &ne) && ne.Timeout() {
						t.Error("the connection is still open")
					}
					break
				}
			}
			parked(t, l, 0)
		})
	}
}

// A connection that has said nothing holds no job.
func TestTLSSilentHoldsNoJob(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 1})
	addr := looptest.Listen(t, l, tlsEcho())
	const n = 20
	for range n {
		testkit.Dial(t, addr)
	}
	parked(t, l, n)
}

// clientHello returns the first bytes of a handshake.
func clientHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	go func() {
		tls.Client(a, clientConfig()).Handshake()
		a.Close()
	}()
	defer b.Close()
	buf := make([]byte, 4096)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// recordTypes keeps the type of each TLS record that is read.
type recordTypes struct {
	net.Conn
	pending []byte
	types   []byte
}

func (c *recordTypes) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.pending = append(c.pending, p[:n]...)
	for len(c.pending) >= 5 { // RFC 8446, section 5.1: type, version, length
		end := 5 + int(c.pending[3])<<8 + int(c.pending[4])
		if len(c.pending) < end {
			break
		}
		c.types = append(c.types, c.pending[0])
		c.pending = c.pending[end:]
	}
	return n, err
}

// The end of a connection is announced, so that a client can tell it from an
// attacker's. (Go's own takes either for the end.)
func TestTLSCloseNotify(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	h := &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		_, err := io.WriteString(c, "bye")
		return err
	}}
	cfg := clientConfig()
	cfg.MaxVersion = tls.VersionTLS12 // where the type of an alert shows
	rec := &recordTypes{Conn: testkit.Dial(t, looptest.Listen(t, l, h))}
	b, err := io.ReadAll(tls.Client(rec, cfg))
	if string(b) != "bye" || err != nil {
		t.Errorf("read %q, error %v", b, err)
	}
	const alert = 21
	if n := len(rec.types); n == 0 || rec.types[n-1] != alert {
		t.Errorf("records of types %d, want the last to be an alert, %d", rec.types, alert)
	}
}

// OnHandshake is told of every handshake, once, with its end.
func TestTLSOnHandshake(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	told := make(chan error, 10)
	h := tlsEcho()
	h.OnHandshake = func(c *loop.TLSConn, took time.Duration, err error) {
		if done := c.ConnectionState().HandshakeComplete; done != (err == nil) || took <= 0 {
			t.Errorf("handshake complete %t after %v, error %v", done, took, err)
		}
		told <- err
	}
	addr := looptest.Listen(t, l, h)
	c := tls.Client(testkit.Dial(t, addr), clientConfig())
	send(t, c, "x")
	testkit.WantRead(t, c, "x")
	if err := testkit.Receive(t, told); err != nil {
		t.Errorf("a handshake that worked: %v", err)
	}
	vanishing := testkit.Dial(t, addr)
	parked(t, l, 2) // what vanishes before it is accepted counts as Stats.Gone
	vanishing.Close()
	if err := testkit.Receive(t, told); err == nil {
		t.Error("a handshake that failed had no error")
	}
	c.Close()
	parked(t, l, 0)
	if len(told) != 0 {
		t.Error("told more than once")
	}
}

func TestTLSHandlerIncomplete(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, h := range []*loop.TLSHandler{{}, {Config: serverConfig()}, {Handler: tlsEcho().Handler}} {
		expectEOF(t, testkit.Dial(t, looptest.Listen(t, l, h)))
	}
}

// Clients that vanish at each byte of their side of the handshake.
func TestTLSClientVanishes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, tlsEcho())
	hello := clientHello(t)
	accepted := uint64(0)
	for i := 0; i <= len(hello); i += 1 + len(hello)/20 {
		for _, rst := range []bool{false, true} {
			c := testkit.Dial(t, addr)
			if _, err := c.Write(hello[:i]); err != nil {
				t.Fatal(err)
			}
			accepted++
			testkit.Eventually(t, "it is accepted", func() bool { return l.Stats().Accepted == accepted })
			if rst {
				testkit.Reset(c)
			} else {
				c.Close()
			}
		}
	}
	parked(t, l, 0)
}

// cutConn sends a byte at a time, and waits until the loop has none left to
// read before the next.
type cutConn struct {
	net.Conn
	settle func()
}

func (c cutConn) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
		c.settle()
	}
	return len(p), nil
}

// crypto/tls keeps its state when its connection is parked in the middle of a
// record.
func TestTLSParksInMidRecord(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l := looptest.New(t, loop.Config{})
		addr := looptest.Listen(t, l, tlsEcho())
		cfg := clientConfig()
		cfg.MaxVersion = version
		raw := testkit.Dial(t, addr)
		if err := tls.Client(raw, cfg).Handshake(); err != nil {
			t.Fatal(err)
		}
		raw = testkit.Dial(t, addr)
		slow := &cutConn{raw, func() {}}
		c := tls.Client(slow, cfg)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		slow.settle = func() {
			looptest.Settle(t, l)
			// It has been told of the byte; it has read it when it is parked.
			testkit.Eventually(t, "no job is left", func() bool {
				s := looptest.Settle(t, l)
				return s.JobsPaused == 0 && s.JobsStarted == s.JobsFinished
			})
		}
		slow.settle()
		before := looptest.Settle(t, l).JobsStarted
		msg := "a record of its own"
		if _, err := io.WriteString(c, msg); err != nil {
			t.Fatal(err)
		}
		if jobs := looptest.Settle(t, l).JobsStarted - before; jobs != 1 {
			t.Errorf("%s: %d jobs for a record in single bytes, want one, for the last", tls.VersionName(version), jobs)
		}
		testkit.WantRead(t, c, msg)
		slow.settle = func() {}
		c.Close()
	}
}

// resumedBy is a handler that says whether the session was resumed, and by which
// loop it was served.
func resumedBy(cfg *tls.Config) *loop.TLSHandler {
	return &loop.TLSHandler{Config: cfg, Handler: func(ctx context.Context, c *loop.TLSConn) error {
		l, _ := loop.FromContext(ctx)
		_, err := fmt.Fprintf(c, "%t %p", c.ConnectionState().DidResume, l)
		return err
	}}
}

func TestTLSResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l := looptest.New(t, loop.Config{})
		addr := looptest.Listen(t, l, resumedBy(serverConfig()))
		cfg := clientConfig()
		cfg.MaxVersion = version
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			c := tls.Client(testkit.Dial(t, addr), cfg)
			b, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%t %p", i > 0, l); string(b) != want {
				t.Errorf("%s, connection %d: %s, want %s", tls.VersionName(version), i, b, want)
			}
		}
	}
}
