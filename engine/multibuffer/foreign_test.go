package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// signsWith signs digest with a key bound to a job, and verifies what comes.
func signsWith(bound crypto.Signer) error {
	sig, err := bound.Sign(nil, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	return rsa.VerifyPKCS1v15(bound.Public().(*rsa.PublicKey), crypto.SHA256, digest, sig)
}

// decryptsWith decrypts with a key bound to a job.
func decryptsWith(bound crypto.Signer) error {
	secret := []byte("secret")
	ciphertext, err := rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, bound.Public().(*rsa.PublicKey), secret, nil)
	if err != nil {
		return err
	}
	got, err := bound.(crypto.Decrypter).Decrypt(rand.Reader, ciphertext, &rsa.OAEPOptions{Hash: crypto.SHA256})
	if err != nil || !bytes.Equal(got, secret) {
		return fmt.Errorf("decrypted %q, error %w", got, err)
	}
	return nil
}

// On a goroutine that its job has started, a bound key works as the key itself
// does, while the job waits for it on a channel, and leaves the job alone.
func TestBoundKeyOnAnotherGoroutine(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		looptest.Must(t, l, func(ctx context.Context) error {
			bound := k.ForContext(ctx)
			done := make(chan error)
			for _, operation := range []func(crypto.Signer) error{signsWith, decryptsWith} {
				go func() { done <- operation(bound) }()
				if err := <-done; err != nil {
					return err
				}
			}
			go func() {
				if k.ForContext(ctx) != crypto.Signer(k) {
					done <- errors.New("the context binds on another goroutine")
				}
				done <- nil
			}()
			if err := <-done; err != nil {
				return err
			}
			if j, _ := jobs.FromContext(ctx); j.WaitCtx().CallbackTaken() {
				t.Error("the job's callback has been taken")
			}
			if b := batcherIn(e, l); b.arrivals != 0 {
				t.Errorf("%d requests have come", b.arrivals)
			}
			return signsWith(bound) // it can still pause
		})
		looptest.Must(t, l, func(ctx context.Context) error { return signs(ctx, k) })
		wantSizes(t, e, map[int]uint64{1: 3}) // one of them the goroutine's
		if s := e.Stats(); s.Direct != 0 || s.Unbound != 0 {
			t.Errorf("%+v, want none that is direct or unbound", s)
		}
		wantGroupIdle(t, e)
		wantIdle(t, e, l)
	})
}

// The job and goroutines that it has started use one bound key at a time.
func TestBoundKeyOnManyGoroutines(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		const goroutines, each = 3, 5
		e := newEngine(t, cfg)
		l := looptest.New(t, loop.Config{})
		k := newKey(t, e, "2048a")
		many := func(bound crypto.Signer) (err error) {
			for range each {
				err = errors.Join(err, signsWith(bound))
			}
			return err
		}
		looptest.Must(t, l, func(ctx context.Context) error {
			bound := k.ForContext(ctx)
			others := make(chan error, goroutines)
			for range goroutines {
				go func() { others <- many(bound) }()
			}
			err := many(bound)
			for range goroutines {
				err = errors.Join(err, <-others)
			}
			return err
		})
		if s := e.Stats(); s.Operations != each*(1+goroutines) || s.Direct != 0 || s.Unbound != 0 {
			t.Errorf("%+v, want %d operations", s, each*(1+goroutines))
		}
		wantGroupIdle(t, e)
		wantIdle(t, e, l)
	})
}
