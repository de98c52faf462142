package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/jobs"
)

// keySizes are the supported sizes of keys in bits. Each has its own batches.
var keySizes = [...]int{2048, 3072, 4096}

// Key is an RSA private key. The Key itself gathers the signatures of goroutines.
// The key that its ForContext returns gathers those of jobs. It is made by
// Engine.Key. Its methods may be called from any goroutine.
type Key struct {
	engine *Engine
	rsa    *rsa.PrivateKey
	lanes  *rsax8.Key
	size   int // index into keySizes
}

var (
	_ engine.Key       = (*Key)(nil)
	_ crypto.Decrypter = (*Key)(nil)
	_ crypto.Decrypter = (*jobKey)(nil)
)

func (e *Engine) newKey(priv *rsa.PrivateKey) (*Key, error) {
	if priv == nil || priv.N == nil || priv.D == nil || slices.Contains(priv.Primes, nil) {
		return nil, fmt.Errorf("%w: incomplete", ErrInvalidKey)
	}
	own := clone(priv)
	own.Precompute()
	if err := own.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidKey, err)
	}
	lanes, err := rsax8.NewKey(own)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupportedKey, err)
	}
	return &Key{engine: e, rsa: own, lanes: lanes, size: slices.Index(keySizes[:], lanes.Bits())}, nil
}

// clone returns a copy of the key without its precomputed values. Some versions of
// crypto/rsa trust these without checking that they belong to the key.
func clone(k *rsa.PrivateKey) *rsa.PrivateKey {
	own := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Set(k.N), E: k.E}, D: new(big.Int).Set(k.D)}
	for _, p := range k.Primes {
		own.Primes = append(own.Primes, new(big.Int).Set(p))
	}
	return own
}

// Public returns the *rsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return &k.rsa.PublicKey }

// Sign gathers the signatures of goroutines: of those that sign at the same time,
// one computes for all. It blocks its caller until the signature has been made.
//
// Inside a job it computes the signature alone, at once, because the loop's other
// jobs must not wait for other goroutines. This delays the loop by more than a
// bound key does, and is counted ([Stats].Unbound) and logged once. See ForContext.
func (k *Key) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	g := &k.engine.group
	r := g.newRequest(k)
	defer g.release(r)
	enc := encoders.Get().(*encoder)
	ok, err := enc.encode(r.op.In, rand, digest, opts)
	encoders.Put(enc)
	if err != nil {
		return nil, err
	}
	if !ok {
		return k.signPlain(rand, digest, opts)
	}
	if _, inside := jobs.Current(); inside {
		k.engine.unbound()
		g.signNow(r)
	} else {
		g.sign(r)
	}
	if r.state == stateVerified {
		return bytes.Clone(r.op.Out), nil
	}
	return k.rsa.Sign(rand, digest, opts) // counted already by leaveAlone or settle
}

// unbound notes that a Key is used in a job that it is not bound to.
func (e *Engine) unbound() {
	if e.stats.unbound.Add(1) == 1 {
		logTo(slog.LevelWarn, "multibuffer: a key signs in a job without being bound to it, so that each signature is computed alone on the loop's thread; use engine.GetCertificate")
	}
}

// signPlain signs with rsa.PrivateKey's Sign.
func (k *Key) signPlain(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := k.rsa.Sign(rand, digest, opts)
	if err == nil {
		k.engine.stats.direct.Add(1)
	}
	return sig, err
}

// Decrypt decrypts with rsa.PrivateKey's Decrypt.
func (k *Key) Decrypt(rand io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.rsa.Decrypt(rand, ciphertext, opts)
}

// ForContext returns the key for the job that ctx carries. That key's Sign pauses
// the job until its batch has been computed. If the job is cancelled meanwhile,
// Sign's error matches jobs.ErrCanceled. ForContext returns k itself if the caller
// is not inside a job on an engine.Host. For TLS servers, engine.GetCertificate
// calls ForContext.
//
// The returned key is also a crypto.Decrypter, and may be used by any goroutine.
// Outside the job, such as on a goroutine that the job has started, it works like
// k.
//
// Once ctx has ended, Sign and Decrypt start nothing and return ctx's error. A
// Sign that is already waiting returns it when its batch's turn comes, and is left
// out of the batch. If its batch is already being computed, it returns the error
// after that. The wait is at most 10 ms plus the time for the batches before it.
func (k *Key) ForContext(ctx context.Context) crypto.Signer {
	if _, ok := jobs.FromContext(ctx); !ok {
		return k
	}
	host, ok := engine.HostFromContext(ctx)
	if !ok {
		return k
	}
	return &jobKey{k, batcherOf(k.engine, host), ctx}
}

// jobKey is a Key for one job.
type jobKey struct {
	key     *Key
	batcher *batcher
	ctx     context.Context // ends operations, and identifies the job
}

// Public returns the *rsa.PublicKey.
func (k *jobKey) Public() crypto.PublicKey { return k.key.Public() }

// Decrypt decrypts with rsa.PrivateKey's Decrypt.
func (k *jobKey) Decrypt(rand io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if err := k.ctx.Err(); err != nil {
		return nil, fmt.Errorf("multibuffer: decryption given up: %w", err)
	}
	return k.key.Decrypt(rand, ciphertext, opts)
}

// Sign pauses the job until the signature has been made in a batch.
func (k *jobKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.ctx.Err(); err != nil {
		return nil, signatureGivenUp(err)
	}
	job, ok := jobs.FromContext(k.ctx)
	if !ok {
		return k.key.Sign(rand, digest, opts)
	}
	b := k.batcher
	r := b.newRequest(k.ctx, k.key, job)
	defer b.release(r) // deferred because Pause may end a cancelled job with Goexit
	ok, err := b.encoder.encode(r.op.In, rand, digest, opts)
	if err != nil {
		return nil, err
	}
	if !ok {
		return k.key.signPlain(rand, digest, opts)
	}
	b.add(r)
	if err := b.wait(r); err != nil {
		return nil, signatureGivenUp(err)
	}
	switch r.state {
	case stateVerified:
		return bytes.Clone(r.op.Out), nil
	case stateBlocked:
		return k.key.signPlain(rand, digest, opts)
	}
	return k.key.rsa.Sign(rand, digest, opts) // counted already by leaveAlone or settle
}

func signatureGivenUp(err error) error {
	return fmt.Errorf("multibuffer: signature given up: %w", err)
}
