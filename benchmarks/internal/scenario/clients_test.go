//go:build linux

package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/internal/load"
)

func TestClientCheck(t *testing.T) {
	good := func() *load.Result {
		r := goodLoad(nil, 100)
		r.Total.Handshakes = 101
		r.Certificates = []load.Certificate{{SHA256: "cafe", Handshakes: 100}}
		return r
	}
	for _, tt := range []struct {
		name  string
		curve string
		spoil func(*load.Result)
		want  string // in the error; none if empty
	}{
		{"all well", "X25519", func(*load.Result) {}, ""},
		{"failures", "X25519", func(r *load.Result) { r.Total.Errors = 2 }, "2 handshakes failed"},
		{"nothing done", "X25519", func(r *load.Result) { *r = load.Result{} }, "no handshake"},
		{"nothing told", "X25519", func(r *load.Result) { r.Handshakes = 0 }, "does not tell"},
		{"nothing to tell", "", func(r *load.Result) { r.Handshakes = 0 }, ""},
		{"another's certificate", "X25519", func(r *load.Result) { r.Certificates[0].SHA256 = "beef" }, "beef"},
		{"another version", "X25519", func(r *load.Result) { r.Negotiated[0].Version = "TLS 1.2" }, "TLS 1.2"},
		{"another curve", "X25519MLKEM768", func(*load.Result) {}, "X25519 instead of X25519MLKEM768"},
		{"another cipher than the others", "X25519", func(r *load.Result) { r.Negotiated[0].Cipher = "OTHER" }, "but first's on"},
	} {
		var same client.Agreement
		kind := client.Full("rsa2048")
		if err := (testedClient{name: "first", curve: "X25519"}).check(kind, good(), "cafe", &same); err != nil {
			t.Fatal(err)
		}
		r := good()
		tt.spoil(r)
		err := (testedClient{name: "x", curve: tt.curve}).check(kind, r, "cafe", &same)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestReadSTime(t *testing.T) {
	res, err := readSTime([]byte("\n4711 connections in 1.20s; 3925.83 connections/user sec\n4711 connections in 5 real seconds, 0 bytes read per connection\n"))
	if err != nil || res.Total.Handshakes != 4711 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := readSTime([]byte("connect:errno=111")); err == nil {
		t.Error("no error of a failed run")
	}
}

// A client that has failed takes nothing from the others.
func TestClientTable(t *testing.T) {
	tab := clientTable([]string{clientLoad, clientGo}, map[string][]*clientResult{clientLoad: {{Handshakes: 1000, Elapsed: time.Second, CPU: time.Second}}})
	wantPrefixes(t, rowsOf(tab)[1:], []string{"tlsdemo load 1000 1000", "crypto/tls with goroutines, X25519 – –"})
}
