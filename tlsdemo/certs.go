package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// keyKind names a kind of private key on the command line.
type keyKind string

const defaultKey = keyKind("rsa2048")

var keyKinds = []string{"rsa2048", "rsa3072", "rsa4096", "ecdsa-p256", "ecdsa-p384", "ed25519"}

func (k *keyKind) UnmarshalText(text []byte) error {
	if !slices.Contains(keyKinds, string(text)) {
		return fmt.Errorf("unknown kind of key %q: the kinds are %s", text, strings.Join(keyKinds, ", "))
	}
	*k = keyKind(text)
	return nil
}

func (k keyKind) generate() (crypto.Signer, error) {
	switch k {
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("unknown kind of key %q", string(k))
}

// newCertificate makes a self-signed certificate for this machine that is valid
// for a day.
func newCertificate(kind keyKind) (*tls.Certificate, error) {
	key, err := kind.generate()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"tlsdemo"}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// certSource is where a server's certificate comes from.
type certSource struct {
	certFile, keyFile string // empty: it was made in memory
	engines           *engines
	current           atomic.Pointer[servedCert]
}

// servedCert is a certificate with its key in an engine.
type servedCert struct {
	cert   *tls.Certificate
	engine engineChoice
}

// newCertSource reads the certificate and key from the two files. If no files are
// named, it makes a certificate. The keys go into the engines.
func newCertSource(certFile, keyFile string, kind keyKind, engines *engines) (*certSource, error) {
	s := &certSource{certFile: certFile, keyFile: keyFile, engines: engines}
	if !s.inMemory() {
		return s, s.reload()
	}
	cert, err := newCertificate(kind)
	if err != nil {
		return nil, err
	}
	return s, s.set(cert)
}

func (s *certSource) inMemory() bool { return s.certFile == "" }

// reload reads the files again. If they cannot be used, the old certificate
// stays.
func (s *certSource) reload() error {
	cert, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err == nil {
		err = s.set(&cert)
	}
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", s.certFile, s.keyFile, err)
	}
	return nil
}

func (s *certSource) set(cert *tls.Certificate) error {
	cert, choice, err := s.engines.take(cert)
	if err == nil {
		s.current.Store(&servedCert{cert, choice})
	}
	return err
}

// engine returns the engine that holds the certificate's key.
func (s *certSource) engine() engineChoice { return s.current.Load().engine }

// get is the function to pass to engine.GetCertificate.
func (s *certSource) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load().cert, nil
}
