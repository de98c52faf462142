//go:build linux

package peer

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
	"strings"
	"time"
)

// Keys has the private key that all servers of a run share, and makes their
// certificates.
type Keys struct {
	File string // has the key, in PEM form
	key  crypto.Signer
	pem  []byte
	last int64 // serial number
}

// Certificate belongs to one start of one server. Its hash tells the client which
// server it has reached.
type Certificate struct {
	File   string // has it and its key, in PEM form
	SHA256 string // of its DER form, in hexadecimal
}

// NewKeys makes a key of this kind: rsa2048, rsa3072, rsa4096 or ecdsa-p256. Its
// files are in dir.
func NewKeys(dir, kind string) (*Keys, error) {
	k := &Keys{File: filepath.Join(dir, kind+".key.pem")}
	var err error
	if bits := map[string]int{"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}[kind]; bits != 0 {
		k.key, err = rsa.GenerateKey(rand.Reader, bits)
	} else if kind == "ecdsa-p256" {
		k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		err = fmt.Errorf("no kind of key %q", kind)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, err
	}
	k.pem = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return k, os.WriteFile(k.File, k.pem, 0o600)
}

// Certificate makes a new self-signed certificate.
func (k *Keys) Certificate() (*Certificate, error) {
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
	file := strings.TrimSuffix(k.File, ".key.pem") + fmt.Sprintf(".cert%d.pem", k.last)
	b := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), k.pem...)
	return &Certificate{file, fmt.Sprintf("%x", sha256.Sum256(der))}, os.WriteFile(file, b, 0o600)
}
