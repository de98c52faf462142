// Package testcert makes certificates for the examples' tests.
package testcert

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// RSA returns the files of a certificate for localhost and its RSA key, and a pool
// that trusts it.
func RSA(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := testkit.Certificate(key, key, "localhost")
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", cert.Certificate[0]),
		write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), testkit.Roots(cert)
}
