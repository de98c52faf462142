package softhsm_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ThalesGroup/crypto11"

	"github.com/jobloop/jobloop/internal/testkit"
)

const pin = "1234"

// newToken returns a new token, which exists until the test ends.
func newToken(t *testing.T) *crypto11.Context {
	t.Helper()
	module := findModule(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf) // for C code too
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "jobloop",
		"--pin", pin, "--so-pin", "5678").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	token, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: "jobloop", Pin: pin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Errorf("closing the token: %v", err)
		}
	})
	return token
}

// findModule returns the path of SoftHSM's library.
func findModule(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{
		os.Getenv("SOFTHSM2_MODULE"),
		"/usr/lib/softhsm/libsofthsm2.so",
		"/usr/lib/*/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so",
		"/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	const missing = "SoftHSM is not installed: see run.sh"
	if os.Getenv("SOFTHSM_REQUIRED") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// identity is a key in the token and its certificate, which it has signed
// itself.
type identity struct {
	name   string
	signer crypto.Signer
	cert   *x509.Certificate
}

// newIdentities makes an RSA key and an ECDSA key inside the token.
func newIdentities(t *testing.T, token *crypto11.Context) []identity {
	t.Helper()
	rsaKey, err := token.GenerateRSAKeyPairWithLabel([]byte{1}, []byte("rsa"), 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := token.GenerateECDSAKeyPairWithLabel([]byte{2}, []byte("ecdsa"), elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	ids := []identity{{name: "rsa.test", signer: rsaKey}, {name: "ecdsa.test", signer: ecdsaKey}}
	for i := range ids {
		id := &ids[i]
		id.cert = testkit.Certificate(id.signer, id.signer, id.name).Leaf
	}
	return ids
}

// with returns the certificate with a private key for it.
func (id identity) with(key crypto.Signer) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: key, Leaf: id.cert}
}
