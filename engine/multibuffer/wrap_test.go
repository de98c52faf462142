package multibuffer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

func TestWrap(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var unsupported error
	if Supported() != nil {
		unsupported = ErrUnsupported
	}
	small := testKey(t, "2048a")
	broken := &rsa.PrivateKey{PublicKey: small.PublicKey}
	for _, tt := range []struct {
		name    string
		key     crypto.PrivateKey
		err     error
		wrapped bool
	}{
		{"RSA", small, unsupported, unsupported == nil},
		{"ECDSA", other, nil, false},
		{"no signer", []byte("key"), ErrInvalidKey, false},
		{"nothing", nil, ErrInvalidKey, false},
		{"incomplete", broken, ErrInvalidKey, false},
	} {
		got, err := Wrap(tt.key)
		if tt.name == "incomplete" && unsupported != nil {
			tt.err = unsupported
		}
		if !errors.Is(err, tt.err) && err != tt.err {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
		if _, ok := got.(*Key); ok != tt.wrapped {
			t.Errorf("%s: %T, wrapped should be %t", tt.name, got, tt.wrapped)
		}
		if !tt.wrapped && tt.name != "no signer" && got != tt.key {
			t.Errorf("%s: another key is returned", tt.name)
		}
	}
	if (Shared() == nil) != (Supported() != nil) {
		t.Errorf("Shared() = %v, Supported() = %v", Shared(), Supported())
	}
	if s := (*Engine)(nil).Stats(); s != (Stats{}) {
		t.Errorf("%+v of no Engine", s)
	}
}

// A server of net/http is served by the engine, HTTP/1.1 and HTTP/2, with a key in
// tls.Config's Certificates.
func TestNetHTTP(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, Config{})
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
		server.EnableHTTP2 = http2
		cert := testkit.Certificate(testKey(t, "2048a"), newKey(t, e, "2048a"), "localhost")
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		server.StartTLS()
		before := e.Stats().Operations
		const clients = 12
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testkit.Roots(cert), ServerName: "localhost"}, ForceAttemptHTTP2: http2}
				defer tr.CloseIdleConnections()
				req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, nil)
				resp, err := (&http.Client{Transport: tr, Timeout: testkit.Patience}).Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || (string(body) == "HTTP/2.0") != http2 {
					t.Errorf("%q, %v", body, err)
				}
			})
		}
		wg.Wait()
		server.Close()
		if n := e.Stats().Operations - before; n != clients {
			t.Errorf("%d signatures in lanes, want %d", n, clients)
		}
		if s := e.Stats(); s.Direct != 0 || s.Unbound != 0 {
			t.Errorf("%+v", s)
		}
	}
	wantGroupIdle(t, e)
}
