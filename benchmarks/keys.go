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
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys is the one private key that all servers of a run have, and the place of
// their certificates.
type keys struct {
	dir  string
	key  crypto.Signer
	file string
	last int64 // serial number
}

// certificate is given to one start of one server: by its serial number, or its
// hash, the client knows whom it has reached.
type certificate struct {
	certFile, keyFile string
	serial            int64
	sha256            string // of its DER form, in hexadecimal
}

func newKeys(dir, kind string) (*keys, error) {
	k := &keys{dir: dir, file: filepath.Join(dir, "key.pem")}
	var err error
	switch kind {
	case "rsa2048":
		k.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		k.key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		k.key, err = rsa.GenerateKey(rand.Reader, 4096)
	case "ecdsa-p256":
		k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		err = fmt.Errorf("no kind of key %q", kind)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, err
	}
	return k, writePEM(k.file, "PRIVATE KEY", der)
}

// certificate makes a new one, signed by itself.
func (k *keys) certificate() (*certificate, error) {
	k.last++
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(k.last),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(0, 1, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.key.Public(), k.key)
	if err != nil {
		return nil, err
	}
	c := &certificate{filepath.Join(k.dir, fmt.Sprintf("cert%d.pem", k.last)), k.file, k.last, fmt.Sprintf("%x", sha256.Sum256(der))}
	return c, writePEM(c.certFile, "CERTIFICATE", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
