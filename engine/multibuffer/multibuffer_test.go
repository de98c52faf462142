package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// What Supported says of this machine, said aloud, is what New does.
func TestSupported(t *testing.T) {
	err := Supported()
	t.Logf("Supported: %v", err)
	e, nerr := New(Config{})
	if (nerr == nil) != (err == nil) || (e != nil) != (err == nil) {
		t.Errorf("Supported: %v, New: %v, %v", err, e, nerr)
	}
	if err == nil {
		return
	}
	if !errors.Is(err, ErrUnsupported) || !errors.Is(nerr, ErrUnsupported) {
		t.Errorf("Supported: %v, New: %v, want ErrUnsupported", err, nerr)
	}
	for what, missing := range map[string]bool{
		"AVX-512 F":    runtime.GOARCH == "amd64" && !cpu.X86.HasAVX512F,
		"AVX-512 DQ":   runtime.GOARCH == "amd64" && !cpu.X86.HasAVX512DQ,
		"AVX-512 BW":   runtime.GOARCH == "amd64" && !cpu.X86.HasAVX512BW,
		"AVX-512 IFMA": runtime.GOARCH == "amd64" && !cpu.X86.HasAVX512IFMA,
		runtime.GOARCH: runtime.GOARCH != "amd64",
	} {
		if missing && !strings.Contains(err.Error(), what) && !errors.Is(err, ErrFIPS) {
			t.Errorf("Supported: %v, without a word of %s", err, what)
		}
	}
}

// In FIPS 140 mode, which a process begins with, nothing works.
func TestFIPS(t *testing.T) {
	const child = "MULTIBUFFER_TEST_FIPS"
	if os.Getenv(child) != "" {
		for _, err := range []error{Supported(), func() error { _, err := New(Config{}); return err }()} {
			if runtime.GOARCH != "amd64" {
				continue
			}
			if !errors.Is(err, ErrFIPS) || !errors.Is(err, ErrUnsupported) {
				t.Errorf("error %v, want ErrFIPS and ErrUnsupported", err)
			}
		}
		return
	}
	if errors.Is(Supported(), ErrFIPS) {
		return // as the whole test
	}
	for _, mode := range []string{"on", "only"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "GODEBUG=fips140="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil && bytes.Contains(out, []byte("fips140: FIPS 140-3 mode")) {
			t.Skipf("SKIPPED: this build has no FIPS mode: %s", out)
		}
		if err != nil || !bytes.Contains(out, []byte("PASS: TestFIPS")) {
			t.Errorf("fips140=%s: %v\n%s", mode, err, out)
		}
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, n := range []int{-1, 9, 1 << 30} {
		if e, err := New(Config{MinBatch: n}); e != nil || !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "MinBatch") {
			t.Errorf("MinBatch %d: %v, %v", n, e, err)
		}
	}
	newEngine(t, Config{MinBatch: 8})
}

// otherSigner is a key in hardware, say.
type otherSigner struct{ crypto.Signer }

func TestKeysOfOtherKindsPass(t *testing.T) {
	e := newEngine(t, Config{})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{ec, &otherSigner{ec}, newKey(t, e, "2048a")} {
		if got, err := e.Key(k); err != nil || got != k {
			t.Errorf("Key(%T) = %T, %v", k, got, err)
		}
	}
	if got, err := e.Key(ed); err != nil || !ed.Equal(got.(ed25519.PrivateKey)) {
		t.Errorf("Key(%T) = %T, %v", ed, got, err)
	}
}

// withPrimes returns a key made of the primes.
func withPrimes(t *testing.T, e int64, primes ...*big.Int) *rsa.PrivateKey {
	t.Helper()
	one := big.NewInt(1)
	n, phi := big.NewInt(1), big.NewInt(1)
	for _, p := range primes {
		n.Mul(n, p)
		phi.Mul(phi, new(big.Int).Sub(p, one))
	}
	k := &rsa.PrivateKey{Primes: primes}
	k.N, k.E = n, int(e)
	if k.D = new(big.Int).ModInverse(big.NewInt(e), phi); k.D == nil {
		t.Fatal("no such key")
	}
	return k
}

// prime returns a prime of so many bits, the highest two of which are set, that
// 65537 has an inverse of.
func prime(t *testing.T, bits int) *big.Int {
	t.Helper()
	for {
		p, err := rand.Prime(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if new(big.Int).Mod(new(big.Int).Sub(p, big.NewInt(1)), big.NewInt(65537)).Sign() != 0 {
			return p
		}
	}
}

func TestUnsupportedKeys(t *testing.T) {
	e := newEngine(t, Config{})
	for name, k := range map[string]*rsa.PrivateKey{
		"1024 bits":  withPrimes(t, 65537, prime(t, 512), prime(t, 512)),
		"1536 bits":  withPrimes(t, 65537, prime(t, 768), prime(t, 768)),
		"2056 bits":  withPrimes(t, 65537, prime(t, 1028), prime(t, 1028)),
		"3 primes":   withPrimes(t, 65537, prime(t, 683), prime(t, 683), prime(t, 682)),
		"even sizes": withPrimes(t, 65537, prime(t, 1124), prime(t, 924)),
	} {
		if name == "3 primes" && k.N.BitLen() != 2048 {
			continue // by chance
		}
		got, err := e.Key(k)
		if got != nil || !errors.Is(err, ErrUnsupportedKey) {
			t.Errorf("%s: %v, %v, want ErrUnsupportedKey", name, got, err)
			continue
		}
		if name != "even sizes" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// Keys that are no keys are errors, but not ErrUnsupportedKey: using them as
// they are would not help.
func TestInvalidKeys(t *testing.T) {
	e := newEngine(t, Config{})
	good := testKey(t, "2048a")
	wrong := rsa.PrivateKey{PublicKey: good.PublicKey, D: new(big.Int).Add(good.D, big.NewInt(2)), Primes: good.Primes}
	for name, k := range map[string]crypto.Signer{
		"nil":        nil,
		"nil RSA":    (*rsa.PrivateKey)(nil),
		"empty":      &rsa.PrivateKey{},
		"wrong":      &wrong,
		"no primes":  &rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D},
		"nil primes": &rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D, Primes: []*big.Int{nil, nil}},
	} {
		got, err := e.Key(k)
		if got != nil || !errors.Is(err, ErrInvalidKey) || errors.Is(err, ErrUnsupportedKey) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// The caller's key is left as it is, though ours is prepared.
func TestKeyIsNotChanged(t *testing.T) {
	e := newEngine(t, Config{})
	good := testKey(t, "2048a")
	bare := &rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D, Primes: good.Primes}
	k, err := e.Key(bare)
	if err != nil {
		t.Fatal(err)
	}
	if bare.Precomputed.Dp != nil {
		t.Error("the caller's key has been changed")
	}
	if k.(*Key).rsa.Precomputed.Dp == nil {
		t.Error("crypto/rsa will be slow")
	}
	if !good.PublicKey.Equal(k.Public()) {
		t.Error("another public key")
	}
	sig, err := k.Sign(nil, digest, crypto.SHA256)
	if err != nil || rsa.VerifyPKCS1v15(&good.PublicKey, crypto.SHA256, digest, sig) != nil {
		t.Errorf("signature %x, %v", sig, err)
	}
}

// What a key's owner has precomputed may belong to other numbers.
func TestStalePrecomputedValues(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	mixed := *testKey(t, "2048a")
	other := testKey(t, "2048b")
	mixed.N, mixed.D, mixed.Primes = other.N, other.D, other.Primes
	signer, err := e.Key(&mixed)
	if err != nil {
		t.Fatal(err)
	}
	looptest.Must(t, l, func(ctx context.Context) error {
		for _, key := range []crypto.Signer{signer, signer.(*Key).ForContext(ctx)} {
			sig, err := key.Sign(rand.Reader, digest, crypto.SHA256)
			if err != nil {
				return err
			}
			if err := rsa.VerifyPKCS1v15(&other.PublicKey, crypto.SHA256, digest, sig); err != nil {
				return err
			}
		}
		return nil
	})
	if s := e.Stats(); s.Fallbacks != 0 {
		t.Errorf("%d fallbacks", s.Fallbacks)
	}
}
