package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/testkit"
)

const config = `{
	"admin": {"disabled": true},
	"apps": {
		"http": {"servers": {"hello": {
			"listen": [%q],
			"automatic_https": {"disable": true},
			"tls_connection_policies": [{}],
			"routes": [{"handle": [{"handler": "static_response", "body": "hello"}]}]
		}}},
		"tls": {"certificates": {"load_multibuffer": {"pairs": [{"certificate": %q, "key": %q}]}}}
	}
}`

// Caddy serves with the certificate, and its signatures are gathered where that can
// be done.
func TestCaddy(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := testkit.Certificate(key, key, "localhost")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	if err := caddy.Load(fmt.Appendf(nil, config, addr, certFile, keyFile), true); err != nil {
		t.Fatal(err)
	}
	defer caddy.Stop()
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testkit.Roots(cert), ServerName: "localhost"}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if err != nil || string(body) != "hello" || (resp.ProtoMajor == 2) != http2 {
			t.Errorf("%s: %q, %v", resp.Proto, body, err)
		}
	}
	if s := multibuffer.Shared().Stats(); multibuffer.Supported() == nil && s.Operations < 2 {
		t.Errorf("%+v, want the handshakes' signatures", s)
	}
}
