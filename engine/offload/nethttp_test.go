package offload_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

// A server with a goroutine for each connection gains a bound on the operations at a
// time, and an end of those that last too long.
func TestNetHTTP(t *testing.T) {
	testkit.CheckLeaks(t)
	const clients, workers = 6, 2
	slow := newGate(t)
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
		testkit.Receive(t, slow.entered)
	}
	testkit.Eventually(t, "the others wait", func() bool { return e.Stats().Queued == clients-workers })
	slow.open()
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
	slow := newGate(t)
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
