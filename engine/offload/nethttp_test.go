package offload_test

import (
	"crypto"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

// slowKey is a key whose operations last until the test lets them end.
type slowKey struct {
	crypto.Signer
	begun     chan struct{}
	end       chan struct{}
	now, most atomic.Int64
}

func (k *slowKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	n := k.now.Add(1)
	defer k.now.Add(-1)
	for most := k.most.Load(); n > most && !k.most.CompareAndSwap(most, n); most = k.most.Load() {
	}
	k.begun <- struct{}{}
	<-k.end
	return k.Signer.Sign(rand, digest, opts)
}

// A server with a goroutine for each connection gains a bound on the operations at a
// time, and an end of those that last too long.
func TestNetHTTP(t *testing.T) {
	testkit.CheckLeaks(t)
	const clients, workers = 6, 2
	slow := &slowKey{Signer: testkit.ECDSAKey(), begun: make(chan struct{}, clients), end: make(chan struct{})}
	e, err := offload.New(offload.Config{Workers: workers, Timeout: testkit.Patience})
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.Key(slow)
	if err != nil {
		t.Fatal(err)
	}
	cert := testkit.Certificate(testkit.ECDSAKey(), key, "localhost")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	server.StartTLS()
	defer server.Close()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testkit.Roots(cert), ServerName: "localhost"}}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr, Timeout: testkit.Patience}).Get(server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	for range workers {
		testkit.Receive(t, slow.begun)
	}
	testkit.Eventually(t, "the others wait", func() bool { return e.Stats().Queued == clients-workers })
	close(slow.end)
	wg.Wait()
	if n := slow.most.Load(); n != workers {
		t.Errorf("%d operations at a time, want %d", n, workers)
	}
	if s := e.Stats(); s.Operations != clients {
		t.Errorf("%+v, want %d operations", s, clients)
	}
}

// An operation that outlasts its timeout ends the handshake and not the server.
func TestNetHTTPTimeout(t *testing.T) {
	slow := &slowKey{Signer: testkit.ECDSAKey(), begun: make(chan struct{}, 1), end: make(chan struct{})}
	defer close(slow.end)
	e, err := offload.New(offload.Config{Workers: 1, Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.Key(slow)
	if err != nil {
		t.Fatal(err)
	}
	cert := testkit.Certificate(testkit.ECDSAKey(), key, "localhost")
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	server.StartTLS()
	defer server.Close()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testkit.Roots(cert), ServerName: "localhost"}}
	defer tr.CloseIdleConnections()
	if _, err := (&http.Client{Transport: tr, Timeout: testkit.Patience}).Get(server.URL); err == nil {
		t.Error("the handshake has no end")
	}
	if s := e.Stats(); s.Timeouts != 1 {
		t.Errorf("%+v, want 1 timeout", s)
	}
}
