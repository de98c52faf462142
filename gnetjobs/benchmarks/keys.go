//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Kinds of keys.
const (
	keyECDSA = "ECDSA P-256"
	keyRSA   = "RSA-2048"
)

// certificate is what all servers of a part have. By its hash the client knows
// whom it has reached.
type certificate struct {
	certFile, keyFile string
	sha256            string // of its DER form, in hexadecimal
}

// newCertificate makes a key and a certificate, signed by itself, in dir.
func newCertificate(dir, kind string) (*certificate, error) {
	var key crypto.Signer
	var err error
	switch kind {
	case keyECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case keyRSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("no kind of key %q", kind)
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(0, 1, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &certificate{
		certFile: filepath.Join(dir, kind+" certificate.pem"),
		keyFile:  filepath.Join(dir, kind+" key.pem"),
		sha256:   fmt.Sprintf("%x", sha256.Sum256(cert)),
	}
	if err := writePEM(c.certFile, "CERTIFICATE", cert); err != nil {
		return nil, err
	}
	return c, writePEM(c.keyFile, "PRIVATE KEY", private)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
