//go:build linux

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

func TestClientsCheck(t *testing.T) {
	what := combination{"rsa2048", "1.3", "full"}
	good := func() *load.Result {
		r := goodLoad(what)
		r.Total.Handshakes = r.Handshakes + 1
		return r
	}
	tests := []struct {
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
	}
	for _, tt := range tests {
		c := &clients{Key: "rsa2048"}
		cert := &certificate{sha256: "cafe"}
		var same agreement
		if err := c.check(testedClient{name: "first", curve: "X25519"}, good(), cert, &same); err != nil {
			t.Fatal(err)
		}
		r := good()
		tt.spoil(r)
		err := c.check(testedClient{name: "x", curve: tt.curve}, r, cert, &same)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The goroutines' client tells whom it has reached, and what was agreed on.
func TestGoroutineClient(t *testing.T) {
	addr, cert := servePeer(t, nameGoroutines)
	for flag, want := range map[string]string{"X25519": "X25519", "default": "X25519MLKEM768"} {
		out := stdout(t, func() error {
			return (&goroutineClient{Addr: addr, Connections: 2, Duration: time.Millisecond, Curve: flag}).Run(t.Context())
		})
		res, err := readResult(out)
		if err != nil {
			t.Fatal(err)
		}
		c := &clients{Key: "ecdsa-p256"}
		if err := c.check(testedClient{curve: want}, res, cert, new(agreement)); err != nil {
			t.Errorf("%s: %v, of %s", flag, err, out)
		}
		if err := c.check(testedClient{curve: want}, res, &certificate{sha256: "beef"}, new(agreement)); err == nil {
			t.Errorf("%s: no error of another certificate", flag)
		}
	}
}

// stdout returns what f prints.
func stdout(t *testing.T, f func() error) []byte {
	t.Helper()
	file, err := os.Create(t.TempDir() + "/stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := os.Stdout
	os.Stdout = file
	err = f()
	os.Stdout = before
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
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
	b, err := json.Marshal(tab.Rows)
	if want := `[["tlsdemo load","1000","1000"],["crypto/tls with goroutines, X25519","–","–"]]`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
