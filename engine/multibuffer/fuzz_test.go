package multibuffer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	cryptorand "crypto/rand"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Goroutines and jobs use keys of all sizes on one Engine, bound and unbound, with
// both kinds of signatures, while contexts end and goroutines leave in the middle.
// Every signature is right, and nothing is left.
func FuzzMix(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		testkit.CheckLeaks(t)
		choose := rand.New(rand.NewPCG(seed, 1))
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1 + choose.IntN(4)))
		e := newEngine(t, Config{Worker: choose.IntN(2) == 0, MinBatch: 1 + choose.IntN(2)})
		epoch := time.Now()
		e.now = func() time.Duration { return time.Since(epoch) }
		l := looptest.New(t, loop.Config{})
		var keys []*Key
		for _, name := range allKeys {
			keys = append(keys, newKey(t, e, name))
		}
		var wg sync.WaitGroup
		for actor := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 2+actor))
			wg.Go(func() {
				for range 1 + r.IntN(4) {
					if r.IntN(8) == 0 {
						leave(keys[r.IntN(len(keys))])
						continue
					}
					if err := signRandomly(r, keys[r.IntN(len(keys))], nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		mustAll(t, together(t, l, 10, func(ctx context.Context, i int) error {
			r := rand.New(rand.NewPCG(seed, 100+uint64(i)))
			for range 1 + r.IntN(4) {
				k := keys[r.IntN(len(keys))]
				ctx, cancel := context.WithCancel(ctx)
				var bound crypto.Signer = k
				if r.IntN(4) > 0 {
					bound = k.ForContext(ctx)
				}
				if r.IntN(4) == 0 {
					cancel()
				}
				err := signRandomly(r, k, bound)
				ended := ctx.Err() != nil && errors.Is(err, context.Canceled)
				cancel()
				if err != nil && !ended {
					return err
				}
			}
			return nil
		}))
		wg.Wait()
		wantIdle(t, e, l)
		wantGroupIdle(t, e)
	})
}

// leave begins a signature on a goroutine that ends in the middle of it.
func leave(k *Key) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		k.Sign(readerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), digest, opts)
	}()
	<-done
}

// signRandomly makes a signature of some kind and verifies it. signer is k, or what
// it is bound to; nil means k.
func signRandomly(r *rand.Rand, k *Key, signer crypto.Signer) error {
	if signer == nil {
		signer = k
	}
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], r.Uint64())
	d := sha256.Sum256(seed[:])
	if r.IntN(2) == 0 {
		sig, err := signer.Sign(cryptorand.Reader, d[:], crypto.SHA256)
		if err != nil {
			return err
		}
		return rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, d[:], sig)
	}
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	sig, err := signer.Sign(cryptorand.Reader, d[:], opts)
	if err != nil {
		return err
	}
	return rsa.VerifyPSS(&k.rsa.PublicKey, crypto.SHA256, d[:], sig, opts)
}
