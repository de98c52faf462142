//go:build linux

package main

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/bench"
)

func TestSigning(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	res, err := signPlain(t.Context(), key, 10*time.Millisecond)
	if err != nil || res.Signatures < 1 || res.CPU <= 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := multibuffer.Supported(); err != nil {
		t.Skip(err)
	}
	for _, n := range []int{1, 4, 8} {
		// Long enough for batches of the slowest machine.
		res, err := signTogether(t.Context(), key, n, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if res.Signatures != res.Batches*int64(n) || res.Batches < 1 || res.CPU <= 0 {
			t.Errorf("%d together: %+v", n, res)
		}
	}
}

func TestParseOpenSSL(t *testing.T) {
	const v30 = `version: 3.0.22
                  sign    verify    sign/s verify/s
rsa 2048 bits 0.000225s 0.000015s   4000.0  66666.1
`
	const v35 = `                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s
rsa  4096 bits 0.003300s 0.000050s 0.000052s 0.003400s    500.0  20000.0  19000.0    290.0
`
	for _, test := range []struct {
		out, bits string
		us        float64
	}{{v30, "2048", 250}, {v35, "4096", 2000}} {
		r, err := parseOpenSSL(test.out, test.bits)
		if err != nil || r.perSignature() != test.us || r.perBatch() != test.us {
			t.Errorf("%s bits: %+v, %v, want %v µs", test.bits, r, err, test.us)
		}
	}
	for _, bad := range []string{"", v35, strings.Replace(v30, "4000.0", "0", 1), strings.Replace(v30, "4000.0", "", 1), strings.Replace(v30, "sign/s", "", 1)} {
		if r, err := parseOpenSSL(bad, "2048"); err == nil {
			t.Errorf("%+v of %q", r, bad)
		}
	}
}

func TestSignatureRows(t *testing.T) {
	results := map[string][]*signed{
		wayCryptoRSA: {{Signatures: 10, Batches: 10, CPU: 10 * time.Millisecond}},
		"eight":      {{Signatures: 80, Batches: 10, CPU: 8 * time.Millisecond}, {Signatures: 80, Batches: 10, CPU: 24 * time.Millisecond}},
	}
	tab := &bench.Table{}
	addSignatureRows(tab, "rsa2048", []string{wayCryptoRSA, "eight"}, results)
	for i, want := range []string{
		"[rsa2048, crypto/rsa 1000 1000 1000 1.00]",
		"[rsa2048, eight 1600 (800–2400) 200 (100–300) 6667 (3333–10000) 5.00]",
	} {
		if got := fmt.Sprint(tab.Rows[i]); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
}
