//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// Handshakes that are not what is to be measured must not become figures.
func TestCheckResult(t *testing.T) {
	h := &handshakeClient{target: target{SHA256: "abc"}}
	good := func() *load.Result {
		return &load.Result{
			Handshakes:   9,
			Negotiated:   []load.Negotiated{{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", Handshakes: 9}},
			Certificates: []load.Certificate{{SHA256: "abc", Handshakes: 9}},
		}
	}
	if err := h.checkResult(good()); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*load.Result){
		"it ended early: interrupted":               func(r *load.Result) { r.Stopped = "interrupted" },
		"2 handshakes failed: map[timeout:2]":       func(r *load.Result) { r.Total.Errors, r.ErrorsByKind = 2, map[string]int64{"timeout": 2} },
		"not one handshake":                         func(r *load.Result) { r.Handshakes = 0 },
		"something else: {Version:TLS 1.2":          func(r *load.Result) { r.Negotiated[0].Version = "TLS 1.2" },
		"Curve:P-256":                               func(r *load.Result) { r.Negotiated[0].Curve = "P-256" },
		"Resumed:true":                              func(r *load.Result) { r.Negotiated[0].Resumed = true },
		"another server's certificate: {SHA256:def": func(r *load.Result) { r.Certificates[0].SHA256 = "def" },
	} {
		r := good()
		spoil(r)
		if err := h.checkResult(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
