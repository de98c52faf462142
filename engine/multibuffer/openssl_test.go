package multibuffer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Somebody else's library verifies the signatures too.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED: there is no openssl here")
	}
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const text = "signed in a lane"
	message := write("message", []byte(text))
	sum := sha256.Sum256([]byte(text))
	options := []crypto.SignerOpts{
		crypto.SHA256,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256},
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256},
		&rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256},
	}
	for _, name := range allKeys {
		k := newKey(t, e, name)
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		public := write(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		sigs := make([][]byte, len(options))
		mustAll(t, together(t, l, len(options), func(ctx context.Context, i int) (err error) {
			sigs[i], err = k.ForContext(ctx).Sign(rand.Reader, sum[:], options[i])
			return err
		}))
		for i, sig := range sigs {
			args := []string{"dgst", "-sha256", "-verify", public, "-signature", write(fmt.Sprint("sig", i), sig)}
			if i > 0 {
				args = append(args, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:auto")
			}
			if out, err := exec.Command(openssl, append(args, message)...).CombinedOutput(); err != nil {
				t.Errorf("%s, %v: %v: %s", name, options[i], err, out)
			}
			sig[len(sig)/2] ^= 1
			write(fmt.Sprint("sig", i), sig)
			if out, err := exec.Command(openssl, append(args, message)...).CombinedOutput(); err == nil {
				t.Errorf("%s, %v: openssl verifies anything: %s", name, options[i], out)
			}
		}
	}
}
