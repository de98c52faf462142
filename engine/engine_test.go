package engine_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

var _ engine.Host = (*loop.Loop)(nil)

// fakeKey is a Key that keeps the context it is used in.
type fakeKey struct {
	crypto.Signer
	ctx context.Context // nil: of no job
}

func (k *fakeKey) ForContext(ctx context.Context) crypto.Signer {
	if _, ok := jobs.FromContext(ctx); !ok {
		return k
	}
	return &fakeKey{k.Signer, ctx}
}

func newFakeKey(t *testing.T) *fakeKey {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeKey{Signer: signer}
}

// inJob runs f inside a job.
func inJob(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	pool, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, st, err := pool.Start(nil, func(j jobs.Job) error {
		f(jobs.NewContext(context.Background(), j))
		return nil
	})
	if st != jobs.StatusFinished || err != nil {
		t.Fatalf("the job: status %v, error %v", st, err)
	}
}

func TestForContext(t *testing.T) {
	key := newFakeKey(t)
	chain := [][]byte{{1}, {2}}
	cert := &tls.Certificate{Certificate: chain, PrivateKey: key, OCSPStaple: []byte{3}}
	plain := &tls.Certificate{Certificate: chain, PrivateKey: key.Signer}
	keyless := &tls.Certificate{Certificate: chain}

	inJob(t, func(ctx context.Context) {
		bound := engine.ForContext(ctx, cert)
		if k, ok := bound.PrivateKey.(*fakeKey); !ok || k.ctx != ctx {
			t.Errorf("in a job, the key is %#v, want one for the job", bound.PrivateKey)
		}
		if cert.PrivateKey != crypto.PrivateKey(key) {
			t.Error("the certificate that was passed has been changed")
		}
		if &bound.Certificate[0] != &chain[0] || &bound.OCSPStaple[0] != &cert.OCSPStaple[0] {
			t.Errorf("the rest of the certificate is another: %+v", bound)
		}
		for _, c := range []*tls.Certificate{plain, keyless} {
			if got := engine.ForContext(ctx, c); got != c {
				t.Errorf("a certificate without a Key became %+v", got)
			}
		}
	})
	for _, c := range []*tls.Certificate{cert, plain, keyless} {
		if got := engine.ForContext(context.Background(), c); got != c {
			t.Errorf("outside a job, a certificate became %+v", got)
		}
	}
}

// hello returns the ClientHelloInfo of a handshake with ctx.
func hello(ctx context.Context, t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (*tls.Certificate, error) {
	t.Helper()
	// Only crypto/tls can make one that has a context: so this is a real
	// handshake, and get is given its ClientHelloInfo.
	var cert *tls.Certificate
	var cerr error
	server := tls.Server(newClientHello(t), &tls.Config{
		GetCertificate: func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, cerr = get(info)
			return nil, errors.New("the test ends here")
		},
	})
	if err := server.HandshakeContext(ctx); err == nil {
		t.Fatal("the handshake went on")
	}
	return cert, cerr
}

func TestGetCertificate(t *testing.T) {
	key := newFakeKey(t)
	cert := &tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: key}
	errNone := errors.New("no certificate")
	get := func(c *tls.Certificate, err error) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, err })
	}
	inJob(t, func(ctx context.Context) {
		got, err := hello(ctx, t, get(cert, nil))
		if err != nil {
			t.Fatal(err)
		}
		k, ok := got.PrivateKey.(*fakeKey)
		if !ok || k == key {
			t.Fatalf("the key is %#v, want one for the job", got.PrivateKey)
		}
		bound, _ := jobs.FromContext(k.ctx)
		if j, _ := jobs.FromContext(ctx); bound != j {
			t.Error("the key is for another job")
		}
		if got, err := hello(ctx, t, get(cert, errNone)); err != errNone || got != cert {
			t.Errorf("with an error: %v, %v", got, err)
		}
		if got, err := hello(ctx, t, get(nil, nil)); err != nil || got != nil {
			t.Errorf("without a certificate: %v, %v", got, err)
		}
	})
	if got, err := hello(context.Background(), t, get(cert, nil)); err != nil || got != cert {
		t.Errorf("outside a job: %v, %v, want the certificate as it is", got, err)
	}
}

// (In a handshake, package multibuffer tests it.)
func TestGetClientCertificatePassesOn(t *testing.T) {
	cert, errNone := &tls.Certificate{PrivateKey: newFakeKey(t)}, errors.New("no certificate")
	for _, want := range []struct {
		cert *tls.Certificate
		err  error
	}{{nil, nil}, {cert, errNone}} {
		get := engine.GetClientCertificate(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return want.cert, want.err })
		if got, err := get(new(tls.CertificateRequestInfo)); got != want.cert || err != want.err {
			t.Errorf("%v, %v, want %v, %v", got, err, want.cert, want.err)
		}
	}
}

// fakeHost is a Host by name only.
type fakeHost struct{ engine.Host }

func TestHostFromContext(t *testing.T) {
	if h, ok := engine.HostFromContext(context.Background()); ok || h != nil {
		t.Errorf("a context of no loop's has host %v, %t", h, ok)
	}
	fake := &fakeHost{}
	ctx := engine.WithHost(context.Background(), fake)
	if h, ok := engine.HostFromContext(ctx); !ok || h != engine.Host(fake) {
		t.Errorf("host %v, %t, want the one of WithHost", h, ok)
	}
	l, err := loop.New(loop.Config{})
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		h  engine.Host
		ok bool
	}
	got := make(chan found, 2)
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		h, ok := engine.HostFromContext(ctx)
		got <- found{h, ok}
		h, ok = engine.HostFromContext(engine.WithHost(ctx, fake))
		got <- found{h, ok}
		return nil
	})
	timer := time.AfterFunc(20*time.Second, func() { l.Close() })
	defer timer.Stop()
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatal("the job did not run")
	}
	if f := <-got; !f.ok || f.h != engine.Host(l) {
		t.Errorf("in a job of a loop's: host %v, %t, want the loop", f.h, f.ok)
	}
	if f := <-got; !f.ok || f.h != engine.Host(fake) {
		t.Errorf("in a job of a loop's, with WithHost: host %v, %t, want WithHost's", f.h, f.ok)
	}
}

// newClientHello returns a connection from which a client's first message can
// be read. It takes whatever is written to it.
func newClientHello(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		tls.Client(a, &tls.Config{ServerName: "test"}).Handshake()
		a.Close()
	}()
	buf := make([]byte, 1<<14)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	<-ended
	return &recorded{r: bytes.NewReader(buf[:n])}
}

// recorded is a connection's one side, played again.
type recorded struct {
	net.Conn
	r io.Reader
}

func (c *recorded) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (c *recorded) SetWriteDeadline(time.Time) error { return nil }
func (c *recorded) Close() error                     { return nil }
