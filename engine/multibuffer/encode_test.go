package multibuffer

import (
	"bytes"
	"crypto"
	_ "crypto/md5"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/jobloop/jobloop/internal/testkit"
)

// lastHash is the largest crypto.Hash there is.
const lastHash = crypto.BLAKE2b_512

// messageOf returns the encoded message that sig signs, as crypto/rsa computed it.
func messageOf(pub *rsa.PublicKey, sig []byte) []byte {
	n := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(pub.E)), pub.N)
	return n.FillBytes(make([]byte, pub.Size()))
}

// random is a stream of bytes, the same for the same seed.
func random(seed int) io.Reader { return mathrand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}) }

// attempt calls Sign, and makes an error of a panic.
func attempt(k crypto.Signer, rand io.Reader, digest []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return k.Sign(rand, digest, opts)
}

// signCase is arguments of Sign, some of them good.
type signCase struct {
	name   string
	digest []byte
	opts   crypto.SignerOpts
}

type noHash struct{}

func (noHash) HashFunc() crypto.Hash { return 0 }

// signCases has every hash function, with digests of the right length and of
// wrong ones, and every kind of salt length.
func signCases(size int) (cases []signCase) {
	add := func(digest []byte, opts crypto.SignerOpts, format string, args ...any) {
		cases = append(cases, signCase{fmt.Sprintf(format, args...), digest, opts})
	}
	zeros := make([]byte, size+1)
	ones := bytes.Repeat([]byte{0xff}, size+1)
	for h := range lastHash + 3 {
		n := 20
		if h > 0 && h <= lastHash {
			n = h.Size()
		}
		for _, d := range [][]byte{ones[:n], zeros[:n], ones[:n+1], ones[:n-1], nil} {
			add(d, h, "PKCS1 %d, %d bytes", h, len(d))
		}
		longest := size - 2 - n
		for _, salt := range []int{rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, -2, 1, 7, n, longest - 1, longest, longest + 1, 1 << 10} {
			add(ones[:n], &rsa.PSSOptions{SaltLength: salt, Hash: h}, "PSS %d, salt %d", h, salt)
		}
		add(ones[:n+1], &rsa.PSSOptions{SaltLength: 20, Hash: h}, "PSS %d, %d bytes", h, n+1)
		add(nil, &rsa.PSSOptions{SaltLength: 20, Hash: h}, "PSS %d, no digest", h)
	}
	for _, n := range []int{0, 1, 36, size - 12, size - 11, size - 10, size, size + 1} {
		add(ones[:n], crypto.Hash(0), "unhashed %d bytes", n)
		add(zeros[:n], noHash{}, "unhashed %d bytes, opts of another type", n)
	}
	add(ones[:32], nil, "no opts")
	add(ones[:32], (*rsa.PSSOptions)(nil), "nil PSSOptions")
	add(ones[:32], crypto.Hash(1000), "hash 1000")
	return cases
}

// What the encoder takes, crypto/rsa signs: the same message, and having read
// the same bytes of rand. What it does not take, crypto/rsa does not sign.
func TestEncode(t *testing.T) {
	if boringEnabled() {
		t.Skip("SKIPPED: BoringCrypto signs for fewer hash functions, and the package is not used with it")
	}
	names := allKeys
	if testing.Short() {
		names = names[:1]
	}
	for _, name := range names {
		priv := testKey(t, name)
		var e encoder
		taken := 0
		for i, c := range signCases(priv.Size()) {
			em := bytes.Repeat([]byte{0xa5}, priv.Size()) // not clean
			ours, theirs := random(i), random(i)
			var ok bool
			var err error
			ok, err = e.encode(em, ours, c.digest, c.opts)
			if err != nil {
				t.Errorf("%s, %s: %v", name, c.name, err)
			}
			sig, rsaErr := attempt(priv, theirs, c.digest, c.opts)
			if ok != (rsaErr == nil) {
				t.Errorf("%s, %s: ok is %t, crypto/rsa's error %v", name, c.name, ok, rsaErr)
			}
			if !ok || rsaErr != nil {
				continue
			}
			taken++
			if want := messageOf(&priv.PublicKey, sig); !bytes.Equal(em, want) {
				t.Errorf("%s, %s: encoded %x\nwant %x", name, c.name, em, want)
			}
			a, b := make([]byte, 8), make([]byte, 8)
			ours.Read(a)
			theirs.Read(b)
			if !bytes.Equal(a, b) {
				t.Errorf("%s, %s: rand has been read otherwise than by crypto/rsa", name, c.name)
			}
		}
		if taken < 100 {
			t.Errorf("%s: only %d cases were signed", name, taken)
		}
	}
}

func TestEncodeRandError(t *testing.T) {
	priv := testKey(t, "2048a")
	broken := errors.New("broken")
	for name, rand := range map[string]func() io.Reader{
		"at once": func() io.Reader { return iotest.ErrReader(broken) },
		"late":    func() io.Reader { return io.MultiReader(io.LimitReader(random(1), 10), iotest.ErrReader(broken)) },
		"EOF":     func() io.Reader { return bytes.NewReader(nil) },
		"short":   func() io.Reader { return io.LimitReader(random(1), 10) },
	} {
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		var e encoder
		ok, err := e.encode(make([]byte, 256), rand(), digest, opts)
		_, want := priv.Sign(rand(), digest, opts)
		if ok || want == nil || err != want {
			t.Errorf("%s: ok is %t, error %v, want %v", name, ok, err, want)
		}
	}
}

// An encoder is used for one message after the other.
func TestEncodeDoesNotAllocate(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	var e encoder
	em := make([]byte, 512)
	pss := &rsa.PSSOptions{Hash: crypto.SHA384}
	long := make([]byte, 48)
	rand := random(0)
	if n := testkit.AllocsPerRun(100, func() {
		for _, c := range []struct {
			digest []byte
			opts   crypto.SignerOpts
		}{{digest, crypto.SHA256}, {long, pss}} {
			if ok, err := e.encode(em, rand, c.digest, c.opts); !ok || err != nil {
				t.Fatalf("ok is %t, error %v", ok, err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
