//go:build linux

package scenario

import (
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/engine/multibuffer"
)

func TestSigning(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&SignatureRound{Duration: 10 * time.Millisecond}).measure(t.Context(), key)
	if err != nil || res.Signatures < 1 || res.CPU <= 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := multibuffer.Supported(); err != nil {
		t.Skip(err)
	}
	for _, n := range []int{1, 4, 8} {
		// Long enough for batches of the slowest machine.
		res, err := (&SignatureRound{Together: n, Duration: 100 * time.Millisecond}).measure(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if res.Signatures != res.Batches*int64(n) || res.Batches < 1 || res.CPU <= 0 {
			t.Errorf("%d together: %+v", n, res)
		}
	}
}

// Jobs that sign side by side make equally many signatures.
func TestUntil(t *testing.T) {
	more := until(time.Now().Add(time.Hour))
	for n := range int64(3) {
		for range 2 { // jobs
			if !more(n) {
				t.Errorf("no more than %d before the end", n)
			}
		}
	}
	more = until(time.Now().Add(-time.Hour))
	for range 2 {
		if more(0) {
			t.Error("more after the end")
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
	tab := report.NewTable("", signatureColumns, "key, way")
	addSignatureRows(tab, "rsa2048", []string{wayCryptoRSA, "eight"}, map[string][]*signed{
		wayCryptoRSA: {{Signatures: 10, Batches: 10, CPU: 10 * time.Millisecond}},
		"eight":      {{Signatures: 80, Batches: 10, CPU: 8 * time.Millisecond}, {Signatures: 80, Batches: 10, CPU: 24 * time.Millisecond}},
	})
	wantPrefixes(t, rowsOf(tab)[1:], []string{
		"rsa2048, crypto/rsa 1000 1000 1000 1.00",
		"rsa2048, eight 1600 (800–2400) 200 (100–300) 6667 (3333–10000) 5.00",
	})
}
