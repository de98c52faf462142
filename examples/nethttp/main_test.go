package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/examples/internal/testcert"
)

// The server answers over HTTP/1.1 and HTTP/2, its signatures are gathered where
// that can be done, and it stops cleanly.
func TestServer(t *testing.T) {
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, func(a net.Addr) { at <- a }) }()
	var addr string
	select {
	case a := <-at:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if err != nil || strings.Contains(string(body), "HTTP/2.0") != http2 {
			t.Errorf("%q, %v", body, err)
		}
	}
	if out, err := exec.Command("curl", "-sS", "--cacert", certFile, "--resolve", "localhost:"+port(addr)+":127.0.0.1", "https://localhost:"+port(addr)+"/").CombinedOutput(); err == nil {
		if !strings.Contains(string(out), "hello over") {
			t.Errorf("curl: %q", out)
		}
	} else if _, missing := exec.LookPath("curl"); missing == nil {
		t.Errorf("curl: %v %s", err, out)
	}
	if multibuffer.Supported() == nil && multibuffer.Shared().Stats().Operations < 2 {
		t.Errorf("%+v, want the handshakes' signatures", multibuffer.Shared().Stats())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
