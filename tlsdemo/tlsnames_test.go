package main

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// The names are those of "openssl ciphers -stdname".
func TestCipherNames(t *testing.T) {
	for name, want := range map[string]uint16{
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"tls_ecdhe_rsa_with_aes_128_gcm_sha256": tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES128-GCM-SHA256":           tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-ECDSA-AES256-GCM-SHA384":         tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-RSA-CHACHA20-POLY1305":           tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-ECDSA-CHACHA20-POLY1305":         tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"ecdhe-ecdsa-aes128-sha256":             tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		"ECDHE-RSA-AES128-SHA":                  tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		"ECDHE-ECDSA-AES256-SHA":                tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		"ECDHE-RSA-DES-CBC3-SHA":                tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
		"ECDHE-RSA-RC4-SHA":                     tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA,
		"AES128-GCM-SHA256":                     tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		"AES256-SHA":                            tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		"AES128-SHA256":                         tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		"DES-CBC3-SHA":                          tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
		"RC4-SHA":                               tls.TLS_RSA_WITH_RC4_128_SHA,
	} {
		var got cipherSuite
		if err := got.UnmarshalText([]byte(name)); err != nil || uint16(got) != want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, tls.CipherSuiteName(want))
		}
	}
	for _, name := range []string{"TLS_AES_128_GCM_SHA256", "tls_chacha20_poly1305_sha256"} {
		if err := new(cipherSuite).UnmarshalText([]byte(name)); err == nil || !strings.Contains(err.Error(), "TLS 1.3") {
			t.Errorf("%s: %v, want an error that it cannot be chosen", name, err)
		}
	}
}

func TestSignatureAlgorithmNames(t *testing.T) {
	for name, scheme := range signatureAlgorithms {
		var got signatureAlgorithm
		if err := got.UnmarshalText([]byte(strings.ToUpper(name))); err != nil || tls.SignatureScheme(got) != scheme || got.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if s := signatureAlgorithm(0).String(); s != "" {
		t.Errorf("none is printed as %q", s)
	}
}

// The algorithm is the only one that crypto/tls may sign with.
func TestClientSignature(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir())
	c := loadCmd{ClientCert: cert, ClientKey: key, ClientSig: signatureAlgorithm(tls.ECDSAWithP256AndSHA256)}
	var cfg load.Config
	if err := c.readFiles(&cfg); err != nil {
		t.Fatal(err)
	}
	if got := cfg.TLS.Certificate.SupportedSignatureAlgorithms; len(got) != 1 || got[0] != tls.ECDSAWithP256AndSHA256 {
		t.Errorf("algorithms %v", got)
	}
}
