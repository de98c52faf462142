package offload_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// echoTLS sends back what it reads, with the certificate that the client asks
// for.
func echoTLS(certs ...*tls.Certificate) *loop.TLSHandler {
	get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, c := range certs {
			if c.Leaf.DNSNames[0] == hello.ServerName {
				return c, nil
			}
		}
		return nil, errors.New("no such certificate")
	}
	return &loop.TLSHandler{
		Config: &tls.Config{GetCertificate: engine.GetCertificate(get)},
		Handler: func(_ context.Context, c *loop.TLSConn) error {
			if err := answer(c); err != nil {
				return err
			}
			return c.Park(nil)
		},
	}
}

// client is one that trusts a certificate.
func client(c net.Conn, cert *tls.Certificate, version uint16) *tls.Conn {
	return tls.Client(c, &tls.Config{
		RootCAs:    testkit.Roots(cert),
		ServerName: cert.Leaf.DNSNames[0],
		MinVersion: version,
		MaxVersion: version,
	})
}

// talk has an echo connection answer.
func talk(c net.Conn) error {
	b := []byte("hello")
	if _, err := c.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		return errors.Join(errors.New("no echo"), err)
	}
	return nil
}

// answer sends back what has come, and returns when there is nothing more.
func answer(c interface {
	io.ReadWriter
	Readable() bool
}) error {
	for b := make([]byte, 4096); c.Readable(); {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

var echo = loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
	if err := answer(c); err != nil {
		return err
	}
	return c.Park(nil)
})

// While 64 handshakes wait for a slow key, other connections are served:
// plain ones, those that are there already, and handshakes with another key.
func TestHandshakes(t *testing.T) {
	const n, workers = 64, 4
	for name, mode := range wakeModes {
		for _, version := range versions {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				testkit.CheckLeaks(t)
				l := looptest.New(t, loop.Config{})
				e := newEngine(t, offload.Config{Workers: workers, Wake: mode})
				g := newGate(t)
				slow := testkit.Certificate(testkit.ECDSAKey(), newKey(t, e, g), "slow")
				fast := testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "fast")
				addr := looptest.Listen(t, l, echoTLS(slow, fast))
				plain := testkit.Dial(t, looptest.Listen(t, l, echo))
				early := client(testkit.Dial(t, addr), fast, version)
				if err := talk(early); err != nil {
					t.Fatal(err)
				}

				var results []<-chan error
				for range n {
					c := client(testkit.Dial(t, addr), slow, version)
					done := make(chan error, 1)
					go func() { done <- talk(c) }()
					results = append(results, done)
				}
				wantStats(t, e, "60 queued, 4 running")
				for range workers {
					testkit.Receive(t, g.entered)
				}
				if err := talk(plain); err != nil {
					t.Errorf("plain connection: %v", err)
				}
				if err := talk(early); err != nil {
					t.Errorf("TLS connection: %v", err)
				}
				if err := talk(client(testkit.Dial(t, addr), fast, version)); err != nil {
					t.Errorf("handshake with another key: %v", err)
				}
				wantNone(t, results)
				wantStats(t, e, "60 queued, 4 running")
				g.open()
				drain(t, results)
				wantStats(t, e, "64 operations")
				if most := g.most.Load(); most != workers {
					t.Errorf("%d operations at a time, want %d", most, workers)
				}
			})
		}
	}
}

// A Key serves handshakes outside jobs too, of a server with goroutines.
func TestHandshakeOutsideJobs(t *testing.T) {
	testkit.CheckLeaks(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, offload.Config{})
	for _, signer := range []crypto.Signer{testkit.ECDSAKey(), rsaKey} {
		cert := testkit.Certificate(signer, newKey(t, e, signer), "server")
		for _, version := range versions {
			a, b := net.Pipe()
			server := tls.Server(a, echoTLS(cert).Config)
			done := make(chan error, 1)
			go func() { done <- server.Handshake() }()
			if err := client(b, cert, version).Handshake(); err != nil {
				t.Errorf("%T, %s: %v", signer, tls.VersionName(version), err)
			}
			b.Close()
			if err := testkit.Receive(t, done); err != nil {
				t.Errorf("server: %T, %s: %v", signer, tls.VersionName(version), err)
			}
			a.Close()
		}
	}
}

// An RSA key that can decrypt still can, inside a job: for the key exchange of
// TLS 1.2 that old clients want.
func TestRSAKeyExchange(t *testing.T) {
	testkit.CheckLeaks(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, offload.Config{})
	cert := testkit.Certificate(rsaKey, newKey(t, e, rsaKey), "old")
	suites := []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	h := echoTLS(cert)
	h.Config.CipherSuites = suites
	c := testkit.Dial(t, looptest.Listen(t, looptest.New(t, loop.Config{}), h))
	err = talk(tls.Client(c, &tls.Config{
		RootCAs: testkit.Roots(cert), ServerName: "old", MaxVersion: tls.VersionTLS12, CipherSuites: suites,
	}))
	if err != nil {
		t.Error(err)
	}
	wantStats(t, e, "1 operations")
}

// Clients that vanish while their signature is computed, or waits to be, cost
// nothing afterwards.
func TestClientVanishes(t *testing.T) {
	for name, mode := range wakeModes {
		for _, version := range versions {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				testkit.CheckLeaks(t)
				l := looptest.New(t, loop.Config{})
				e := newEngine(t, offload.Config{Workers: 1, Wake: mode})
				g := newGate(t)
				cert := testkit.Certificate(testkit.ECDSAKey(), newKey(t, e, g), "server")
				addr := looptest.Listen(t, l, echoTLS(cert))
				var conns []net.Conn
				for _, counts := range []string{"1 running", "1 queued, 1 running", "2 queued, 1 running"} {
					c := testkit.Dial(t, addr)
					go client(c, cert, version).Handshake()
					conns = append(conns, c)
					wantStats(t, e, counts)
				}
				testkit.Receive(t, g.entered)
				testkit.Reset(conns[1]) // whose operation is queued
				wantStats(t, e, "1 operations, 1 canceled, 1 queued, 1 running")
				testkit.Reset(conns[0]) // whose operation is under way
				wantStats(t, e, "2 operations, 2 canceled, 1 queued, 1 running")
				testkit.Eventually(t, "cancelled jobs", func() bool {
					s := l.Stats()
					return s.JobsCanceled == 2 && s.Conns == 1
				})
				if n := g.n.Load(); n != 1 {
					t.Errorf("the signer was called %d times, want once", n)
				}
				g.open()
				wantStats(t, e, "3 operations, 2 canceled, 1 dropped")
				if n := g.n.Load(); n != 2 {
					t.Errorf("the signer was called %d times, want twice", n)
				}
				if err := talk(client(testkit.Dial(t, addr), cert, version)); err != nil {
					t.Errorf("the next client: %v", err)
				}
			})
		}
	}
}

// A signer that never returns costs one handshake, not the server.
func TestHandshakeTimeout(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			e := newEngine(t, offload.Config{Workers: 1, Timeout: 100 * time.Millisecond, Wake: mode})
			g := newGate(t)
			slow := testkit.Certificate(testkit.ECDSAKey(), newKey(t, e, g), "slow")
			fast := testkit.Certificate(testkit.ECDSAKey(), newKey(t, e, testkit.ECDSAKey()), "fast")
			h := echoTLS(slow, fast)
			failed := make(chan error, 100)
			h.OnHandshake = func(_ *loop.TLSConn, _ time.Duration, err error) { failed <- err }
			addr := looptest.Listen(t, l, h)
			if err := talk(client(testkit.Dial(t, addr), slow, tls.VersionTLS13)); err == nil {
				t.Error("a handshake without a signature")
			}
			// crypto/tls keeps the text of a signer's error, but does not wrap it.
			if err := testkit.Receive(t, failed); err == nil || !strings.Contains(err.Error(), offload.ErrTimeout.Error()) {
				t.Errorf("the handshake's error is %v, want %v", err, offload.ErrTimeout)
			}
			testkit.Eventually(t, "a handshake by the worker's replacement", func() bool {
				return talk(client(testkit.Dial(t, addr), fast, tls.VersionTLS13)) == nil
			})
			g.open()
		})
	}
}
