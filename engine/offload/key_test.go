package offload_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

// What the caller has passed is its own again when the call has returned.
func TestArgumentsAreCopied(t *testing.T) {
	testkit.CheckLeaks(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	withTimeout(t, 10*time.Millisecond, func(timeout time.Duration) bool {
		e := newEngine(t, offload.Config{Timeout: timeout})
		begun, through, result := make(chan bool, 1), make(chan bool), make(chan error, 1)
		k := newKey(t, e, signerFunc(func(r io.Reader, d []byte, opts crypto.SignerOpts) ([]byte, error) {
			begun <- true
			<-through
			sig, err := rsaKey.Sign(r, d, opts)
			if err == nil {
				err = rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 20})
			}
			result <- err
			return sig, err
		}))
		d, opts := digest, &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}
		_, err = k.Sign(poison{t}, d[:], opts)
		testkit.WantErr(t, err, offload.ErrTimeout)
		clear(d[:])
		*opts = rsa.PSSOptions{}
		close(through)
		if len(begun) == 0 {
			return false
		}
		if err := testkit.Receive(t, result); err != nil {
			t.Errorf("the late signature: %v", err)
		}
		return true
	})
}

// poison is a source of random numbers that is not to be used.
type poison struct{ t testing.TB }

func (p poison) Read([]byte) (int, error) {
	p.t.Error("the signer has used the caller's rand")
	return 0, errors.New("poison")
}

// Keys of all kinds give what they give without an Engine.
func TestKinds(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte("a message")
	sum := sha256.Sum256(msg)
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		inJob := func(k crypto.Signer, test func(crypto.Signer) error) {
			t.Helper()
			bound := newKey(t, e, k)
			if err := test(bound); err != nil {
				t.Error(err)
			}
			done := r.Go(func(ctx context.Context) error { return test(bound.ForContext(ctx)) })
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		}
		inJob(rsaKey, func(s crypto.Signer) error {
			if s.Public() != rsaKey.Public() && !rsaKey.PublicKey.Equal(s.Public()) {
				return errors.New("another public key")
			}
			pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
			sig, err := s.Sign(rand.Reader, sum[:], pss)
			if err == nil {
				err = rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA256, sum[:], sig, pss)
			}
			if err != nil {
				return fmt.Errorf("PSS: %w", err)
			}
			sig, err = crypto.SignMessage(s, rand.Reader, msg, crypto.SHA256)
			if err == nil {
				err = rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, sum[:], sig)
			}
			if err != nil {
				return fmt.Errorf("PKCS #1 v1.5: %w", err)
			}
			return decrypts(s.(crypto.Decrypter), &rsaKey.PublicKey)
		})
		inJob(testkit.ECDSAKey(), func(s crypto.Signer) error {
			if _, ok := s.(crypto.Decrypter); ok {
				return errors.New("an ECDSA key must not have a Decrypt method: crypto/tls refuses it")
			}
			sig, err := s.Sign(nil, sum[:], crypto.SHA256)
			if err != nil {
				return err
			}
			want, err := testkit.ECDSAKey().Sign(nil, sum[:], crypto.SHA256)
			if err != nil || string(sig) != string(want) {
				return fmt.Errorf("without rand, the signature is not RFC 6979's: %w", err)
			}
			return sign(s)
		})
		inJob(edKey, func(s crypto.Signer) error {
			opts := &ed25519.Options{Context: "test"}
			sig, err := s.Sign(nil, msg, opts)
			if err == nil {
				err = ed25519.VerifyWithOptions(edKey.Public().(ed25519.PublicKey), msg, sig, opts)
			}
			return err
		})
	})
}

func decrypts(d crypto.Decrypter, public *rsa.PublicKey) error {
	session := []byte("a session key of 16")
	encrypted, err := rsa.EncryptPKCS1v15(rand.Reader, public, session)
	if err != nil {
		return err
	}
	got, err := d.Decrypt(rand.Reader, encrypted, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: len(session)})
	if err != nil || string(got) != string(session) {
		return fmt.Errorf("PKCS #1 v1.5 decrypted %q, error %w", got, err)
	}
	label := []byte("label")
	encrypted, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, public, session, label)
	if err != nil {
		return err
	}
	got, err = d.Decrypt(rand.Reader, encrypted, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: label})
	if err != nil || string(got) != string(session) {
		return fmt.Errorf("OAEP decrypted %q, error %w", got, err)
	}
	return nil
}

// hasher is a signer that hashes by itself, and can do nothing else.
type hasher struct{ crypto.Signer }

func (h hasher) SignMessage(r io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	sum := sha256.Sum256(msg)
	return h.Signer.Sign(r, sum[:], opts)
}

func TestMessageSigner(t *testing.T) {
	e := newEngine(t, offload.Config{})
	msg := []byte("a message")
	sig, err := crypto.SignMessage(newKey(t, e, hasher{testkit.ECDSAKey()}), rand.Reader, msg, crypto.SHA256)
	sum := sha256.Sum256(msg)
	if err != nil || !ecdsa.VerifyASN1(&testkit.ECDSAKey().PublicKey, sum[:], sig) {
		t.Errorf("error %v, or a signature that is wrong", err)
	}
}

// publics is a signer that counts the calls of Public.
type publics struct {
	crypto.Signer
	n   int
	key crypto.PublicKey
}

func (p *publics) Public() crypto.PublicKey {
	p.n++
	return p.key
}

func TestPublicIsAskedForOnce(t *testing.T) {
	e := newEngine(t, offload.Config{})
	signer := &publics{Signer: testkit.ECDSAKey(), key: &testkit.ECDSAKey().PublicKey}
	k := newKey(t, e, signer)
	for range 3 {
		if k.Public() != crypto.PublicKey(&testkit.ECDSAKey().PublicKey) {
			t.Error("another public key")
		}
	}
	if signer.n != 1 {
		t.Errorf("Public was called %d times, want once", signer.n)
	}
}

func TestInvalidKey(t *testing.T) {
	e := newEngine(t, offload.Config{})
	for _, signer := range []crypto.Signer{nil, &publics{Signer: testkit.ECDSAKey()}} {
		k, err := e.Key(signer)
		if k != nil {
			t.Errorf("Key(%T) is %v", signer, k)
		}
		testkit.WantErr(t, err, offload.ErrInvalidKey)
	}
}
