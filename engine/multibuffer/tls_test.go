package multibuffer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// tlsServer is an echo server on l. It returns its address and what a client
// of it needs.
func tlsServer(t *testing.T, l *loop.Loop, conf *tls.Config, certs ...*tls.Certificate) (addr string, roots *x509.CertPool) {
	t.Helper()
	conf.GetCertificate = engine.GetCertificate(func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, c := range certs {
			if hello.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
		return certs[0], nil
	})
	ln, err := l.Listen("tcp", "127.0.0.1:0", &loop.TLSHandler{
		Config:           conf,
		HandshakeTimeout: testkit.Patience,
		Handler: func(_ context.Context, c *loop.TLSConn) error {
			_, err := io.Copy(c, c)
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String(), testkit.Roots(certs...)
}

// visit does a handshake and has a line echoed.
func visit(addr string, conf *tls.Config) (tls.ConnectionState, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: testkit.Patience}, Config: conf}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	c := conn.(*tls.Conn)
	defer c.Close()
	c.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return c.ConnectionState(), err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		return c.ConnectionState(), fmt.Errorf("echo %q, %v", b, err)
	}
	return c.ConnectionState(), nil
}

// crowd has n clients at a time visit.
func crowd(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestHandshakes(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				e := newEngine(t, cfg)
				l := looptest.New(t, loop.Config{})
				k := newKey(t, e, "2048a")
				addr, roots := tlsServer(t, l, &tls.Config{}, testkit.Certificate(k.rsa, k, "test"))
				crowd(t, 64, func(int) error {
					s, err := visit(addr, &tls.Config{RootCAs: roots, ServerName: "test", MinVersion: version, MaxVersion: version})
					if err == nil && s.Version != version {
						err = fmt.Errorf("version %#x", s.Version)
					}
					return err
				})
				s := e.Stats()
				if s.Operations != 64 || s.Direct+s.Alone+s.Fallbacks+s.Canceled != 0 {
					t.Errorf("%+v, want 64 operations", s)
				}
				t.Logf("batches by size: %v", s.BatchSizes)
				wantIdle(t, e, l)
			})
		}
	})
}

// Clients of ECDSA and of RSA, of two sizes, at a time.
func TestHandshakesWithSeveralCertificates(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	same, err := e.Key(ec)
	if err != nil {
		t.Fatal(err)
	}
	k := newKey(t, e, "3072")
	addr, roots := tlsServer(t, l, &tls.Config{}, testkit.Certificate(ec, same, "test"), testkit.Certificate(k.rsa, k, "test"))
	crowd(t, 32, func(i int) error {
		conf := &tls.Config{RootCAs: roots, ServerName: "test", MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
		if i%2 == 0 {
			conf.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}
		s, err := visit(addr, conf)
		if err == nil && s.CipherSuite != conf.CipherSuites[0] {
			err = fmt.Errorf("cipher suite %#x", s.CipherSuite)
		}
		return err
	})
	if s := e.Stats(); s.Operations != 16 {
		t.Errorf("%+v, want 16 operations", s)
	}
}

// A resumed session needs no signature.
func TestResumption(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	addr, roots := tlsServer(t, l, &tls.Config{}, testkit.Certificate(k.rsa, k, "test"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := &tls.Config{RootCAs: roots, ServerName: "test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i := range 3 {
			s, err := visit(addr, conf)
			if err != nil || s.DidResume != (i > 0) {
				t.Fatalf("%s, visit %d: resumed is %t, %v", tls.VersionName(version), i, s.DidResume, err)
			}
		}
	}
	if s := e.Stats(); s.Operations != 2 {
		t.Errorf("%+v, want 2 operations", s)
	}
}

// RSA key exchange, where the server decrypts instead of signing.
func TestRSAKeyExchange(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	suites := []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	addr, roots := tlsServer(t, l, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}, testkit.Certificate(k.rsa, k, "test"))
	crowd(t, 8, func(int) error {
		s, err := visit(addr, &tls.Config{RootCAs: roots, ServerName: "test", MaxVersion: tls.VersionTLS12, CipherSuites: suites})
		if err == nil && s.CipherSuite != suites[0] {
			err = fmt.Errorf("cipher suite %#x", s.CipherSuite)
		}
		return err
	})
	if s := e.Stats(); s != (Stats{}) {
		t.Errorf("%+v, want nothing", s)
	}
}

// TLS 1.0 signs MD5 and SHA-1 together, without telling which hash it is.
func TestTLS10(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	conf := func() *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}
	}
	addr, roots := tlsServer(t, l, conf(), testkit.Certificate(k.rsa, k, "test"))
	c := conf()
	c.RootCAs, c.ServerName = roots, "test"
	if _, err := visit(addr, c); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); s.Operations != 1 {
		t.Errorf("%+v, want an operation", s)
	}
}

// A server that proves itself to another one, by TLS on the loop, has a Key
// for its client certificate too.
func TestClientCertificate(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	cert := testkit.Certificate(k.rsa, k, "test")
	addr, roots := tlsServer(t, l, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, cert)
	looptest.Must(t, l, func(ctx context.Context) error {
		conn, err := loop.Dial(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		c := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "test",
			GetClientCertificate: engine.GetClientCertificate(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return cert, nil
			})})
		defer c.Close()
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 5))
		return err
	})
	if s := e.Stats(); s.Operations != 2 {
		t.Errorf("%+v, want 2 operations", s)
	}
}
