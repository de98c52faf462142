//go:build linux

package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// A key exchange that was asked for must be agreed on.
func TestCurve(t *testing.T) {
	k := Kind{Key: "rsa2048", TLS: "1.3", Resume: "full", Curve: "X25519MLKEM768"}
	if got := strings.Join(k.Args(), " "); got != "--tls 1.3 --insecure --curve X25519MLKEM768 --resume none" {
		t.Errorf("arguments %s", got)
	}
	if got := k.String(); got != "rsa2048, TLS 1.3, full, X25519MLKEM768" {
		t.Errorf("%s", got)
	}
	for curve, ok := range map[string]bool{"X25519MLKEM768": true, "X25519": false} {
		r := &load.Result{Handshakes: 1, Negotiated: []load.Negotiated{{Version: "TLS 1.3", Cipher: "C", Curve: curve, Handshakes: 1}}, Certificates: []load.Certificate{{SHA256: "cafe", Handshakes: 1}}}
		if err := new(Agreement).Check("x", k, "", r, "cafe"); (err == nil) != ok {
			t.Errorf("agreed on %s: %v", curve, err)
		}
	}
}

func TestKinds(t *testing.T) {
	all := Kinds([]string{"rsa2048", "ecdsa-p256"}, []string{"1.3", "1.2"}, []string{"full", "resumed"})
	if len(all) != 8 || all[0] != Full("rsa2048") || all[7] != (Kind{Key: "ecdsa-p256", TLS: "1.2", Resume: "resumed"}) {
		t.Errorf("%v", all)
	}
	for i, want := range map[int]string{
		0: "--tls 1.3 --insecure --curve X25519 --resume none",
		1: "--tls 1.3 --insecure --curve X25519 --resume tickets",
		2: "--tls 1.2 --insecure --curve X25519 --cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 --resume none",
		4: "--tls 1.3 --insecure --curve X25519 --resume none",
		7: "--tls 1.2 --insecure --cipher TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 --resume tickets",
	} {
		if got := strings.Join(all[i].Args(), " "); got != want {
			t.Errorf("%v: %s, want %s", all[i], got, want)
		}
	}
}

// goodLoad is a result that passes all checks for the certificate "cafe".
func goodLoad(c Kind) *load.Result {
	agreed := load.Negotiated{Version: "TLS " + c.TLS, Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", Resumed: c.Resumed(), Handshakes: 1000}
	return &load.Result{
		Handshakes:   1000,
		Negotiated:   []load.Negotiated{agreed},
		Certificates: []load.Certificate{{SHA256: "cafe", Handshakes: 1000}},
	}
}

func TestAgreement(t *testing.T) {
	full := Kind{Key: "rsa2048", TLS: "1.3", Resume: "full"}
	resumed := Kind{Key: "rsa2048", TLS: "1.3", Resume: "resumed"}
	tests := []struct {
		name  string
		what  Kind
		spoil func(*load.Result)
		want  string // in the error; none if empty
	}{
		{"full", full, func(*load.Result) {}, ""},
		{"resumed", resumed, func(*load.Result) {}, ""},
		{"none succeeded", full, func(r *load.Result) { *r = load.Result{} }, ""},
		{"another's certificate", full, func(r *load.Result) { r.Certificates[0].SHA256 = "beef" }, "certificate beef; this server's is cafe"},
		{"some with no certificate", full, func(r *load.Result) { r.Certificates[0].Handshakes-- }, "999 of 1000"},
		{"two certificates", full, func(r *load.Result) { r.Certificates = append(r.Certificates, load.Certificate{SHA256: "beef"}) }, "2 certificates"},
		{"no certificate", full, func(r *load.Result) { r.Certificates = nil }, "0 certificates"},
		{"some not told", full, func(r *load.Result) { r.Negotiated[0].Handshakes-- }, "of 999 handshakes"},
		{"nothing told", full, func(r *load.Result) { r.Negotiated = nil }, "of 0 handshakes"},
		{"one resumed", full, func(r *load.Result) { split(r, 999, func(n *load.Negotiated) { n.Resumed = true }) }, "1 of 1000 handshakes resumed"},
		{"two ciphers", full, func(r *load.Result) { split(r, 999, func(n *load.Negotiated) { n.Cipher = "OTHER" }) }, "but also on TLS 1.3, OTHER, X25519"},
		{"another version", full, func(r *load.Result) { r.Negotiated[0].Version = "TLS 1.2" }, "TLS 1.2 instead of TLS 1.3"},
		{"another cipher", full, func(r *load.Result) { r.Negotiated[0].Cipher = "OTHER" }, "its handshakes agreed on TLS 1.3, OTHER, X25519, but first's on TLS 1.3, TLS_AES_128_GCM_SHA256, X25519"},
		{"another curve", full, func(r *load.Result) { r.Negotiated[0].Curve = "P-256" }, "P-256, but first's on"},
		{"another protocol", full, func(r *load.Result) { r.Negotiated[0].ALPN = "h2" }, `agreed on the application protocol "h2" instead of ""`},
		{"two protocols", full, func(r *load.Result) { split(r, 999, func(n *load.Negotiated) { n.ALPN = "h2" }) }, "but also on TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, h2"},
		{"nearly all resumed", resumed, func(r *load.Result) { split(r, 990, func(n *load.Negotiated) { n.Resumed = false }) }, ""},
		{"too few resumed", resumed, func(r *load.Result) { split(r, 989, func(n *load.Negotiated) { n.Resumed = false }) }, "not resumed: 989 of 1000"},
		{"none resumed", resumed, func(r *load.Result) { r.Negotiated[0].Resumed = false }, "not resumed: 0 of 1000"},
	}
	for _, tt := range tests {
		var same Agreement
		if err := same.Check("first", tt.what, "", goodLoad(tt.what), "cafe"); err != nil {
			t.Fatal(err)
		}
		r := goodLoad(tt.what)
		tt.spoil(r)
		err := same.Check("x", tt.what, "", r, "cafe")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if errors.Is(err, ErrNotResumed) != strings.HasPrefix(tt.want, "not resumed") {
			t.Errorf("%s: %v is ErrNotResumed: %t", tt.name, err, errors.Is(err, ErrNotResumed))
		}
	}
}

// Servers of different application protocols agree if all else is the same. Each
// must have chosen its own.
func TestAgreementAcrossProtocols(t *testing.T) {
	full := Full("rsa2048")
	chose := func(alpn, curve string) *load.Result {
		r := goodLoad(full)
		r.Negotiated[0].ALPN, r.Negotiated[0].Curve = alpn, curve
		return r
	}
	for _, first := range []string{"", "h2"} {
		for _, tt := range []struct {
			alpn        string // that must be chosen
			chose, with string // what was chosen
			want        string // in the error; none if empty
		}{
			{"h2", "h2", "X25519", ""},
			{"", "", "X25519", ""},
			{"h2", "", "X25519", `agreed on the application protocol "" instead of "h2"`},
			{"h2", "http/1.1", "X25519", `agreed on the application protocol "http/1.1" instead of "h2"`},
			{"", "h2", "X25519", `agreed on the application protocol "h2" instead of ""`},
			{"h2", "h2", "P-256", "P-256, but first's on"},
			{"", "", "P-256", "P-256, but first's on"},
		} {
			var same Agreement
			if err := same.Check("first", full, first, chose(first, "X25519"), "cafe"); err != nil {
				t.Fatal(err)
			}
			err := same.Check("x", full, tt.alpn, chose(tt.chose, tt.with), "cafe")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("after %q, %+v: %v", first, tt, err)
			}
		}
	}
}

// split makes two kinds of handshakes of one: n as they were, and the rest
// changed.
func split(r *load.Result, n int64, change func(*load.Negotiated)) {
	other := r.Negotiated[0]
	other.Handshakes -= n
	r.Negotiated[0].Handshakes = n
	change(&other)
	r.Negotiated = append(r.Negotiated, other)
}
