package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file knows the names of cipher suites and signature algorithms.

// cipherSuite is a cipher suite of TLS 1.2; zero leaves the choice to crypto/tls.
type cipherSuite uint16

func (c *cipherSuite) UnmarshalText(text []byte) error {
	var names []string
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		isName := strings.EqualFold(s.Name, string(text))
		if !slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			if isName {
				return fmt.Errorf("%s is a cipher suite of TLS 1.3: crypto/tls offers all three of these, so it cannot be chosen", s.Name)
			}
			continue
		}
		if isName || strings.EqualFold(openSSLName(s.Name), string(text)) {
			*c = cipherSuite(s.ID)
			return nil
		}
		if !s.Insecure {
			names = append(names, s.Name)
		}
	}
	return fmt.Errorf("unknown cipher suite %q: the cipher suites are %s, and the insecure ones of crypto/tls. OpenSSL's names, such as ECDHE-RSA-AES128-GCM-SHA256, are understood too", text, strings.Join(names, ", "))
}

func (c cipherSuite) String() string {
	if c == 0 {
		return ""
	}
	return tls.CipherSuiteName(uint16(c))
}

// openSSLName returns OpenSSL's name of a cipher suite of TLS 1.2.
func openSSLName(standard string) string {
	name := strings.TrimPrefix(standard, "TLS_")
	name = strings.TrimPrefix(name, "RSA_WITH_") // OpenSSL does not name this key exchange
	return strings.NewReplacer(
		"_WITH_", "-",
		"AES_128_CBC_", "AES128-", "AES_256_CBC_", "AES256-",
		"AES_128_", "AES128-", "AES_256_", "AES256-",
		"3DES_EDE_CBC_", "DES-CBC3-",
		"RC4_128_", "RC4-",
		"CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305",
		"_", "-",
	).Replace(name)
}

// signatureAlgorithms are those that crypto/tls can sign with, by their names in TLS 1.3.
var signatureAlgorithms = map[string]tls.SignatureScheme{
	"rsa_pkcs1_sha256":       tls.PKCS1WithSHA256,
	"rsa_pkcs1_sha384":       tls.PKCS1WithSHA384,
	"rsa_pkcs1_sha512":       tls.PKCS1WithSHA512,
	"rsa_pss_rsae_sha256":    tls.PSSWithSHA256,
	"rsa_pss_rsae_sha384":    tls.PSSWithSHA384,
	"rsa_pss_rsae_sha512":    tls.PSSWithSHA512,
	"ecdsa_secp256r1_sha256": tls.ECDSAWithP256AndSHA256,
	"ecdsa_secp384r1_sha384": tls.ECDSAWithP384AndSHA384,
	"ecdsa_secp521r1_sha512": tls.ECDSAWithP521AndSHA512,
	"ed25519":                tls.Ed25519,
}

// signatureAlgorithm is one of signatureAlgorithms; zero leaves the choice to crypto/tls.
type signatureAlgorithm tls.SignatureScheme

func (a *signatureAlgorithm) UnmarshalText(text []byte) error {
	scheme, ok := signatureAlgorithms[strings.ToLower(string(text))]
	if !ok {
		return fmt.Errorf("unknown signature algorithm %q: the algorithms are %s", text, strings.Join(slices.Sorted(maps.Keys(signatureAlgorithms)), ", "))
	}
	*a = signatureAlgorithm(scheme)
	return nil
}

func (a signatureAlgorithm) String() string {
	for name, scheme := range signatureAlgorithms {
		if scheme == tls.SignatureScheme(a) {
			return name
		}
	}
	return ""
}
