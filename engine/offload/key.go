package offload

import (
	"context"
	"crypto"
	"crypto/ed25519"
	crand "crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"slices"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/jobs"
)

// Key returns a key whose operations the Engine's workers do, by calling
// signer, which has to allow Config.Workers calls at a time. It is also a
// crypto.MessageSigner, and a crypto.Decrypter if signer is one. (Never
// otherwise: crypto/tls refuses to serve TLS 1.2 with an ECDSA key that has a
// Decrypt method.)
//
// Inside a job its operations block the thread like anywhere else, but those
// of what its ForContext returns pause the job; [engine.GetCertificate] sees to
// that. Elsewhere, on a goroutine that the job has started or in another job,
// what ForContext returns blocks its caller as the key itself does. When the
// context ends its operations end too, wherever they wait, with the context's
// error; what the signer returns later is dropped.
//
// Public returns what signer's Public, which may block in a token, returns to
// Key. What the operations are given is copied, since a signer may still be at
// work when they have returned with an error. Options of types that are not
// package rsa's or ed25519's cannot be copied and must not be changed
// afterwards. The signer does not get the caller's rand, which would then be
// used on two goroutines, but crypto/rand.Reader; or nil if that is nil, which
// to Go's ECDSA keys means a deterministic signature (RFC 6979).
//
// The errors of operations are the signer's, those of this package, the
// context's, and jobs.ErrCanceled; of a failed handshake's, crypto/tls in TLS 1.3 keeps the
// text only. The error of Key is ErrInvalidKey.
func (e *Engine) Key(signer crypto.Signer) (engine.Key, error) {
	if signer == nil {
		return nil, fmt.Errorf("%w: no signer", ErrInvalidKey)
	}
	public := signer.Public()
	if public == nil {
		return nil, fmt.Errorf("%w: %T has no public key", ErrInvalidKey, signer)
	}
	k := key{engine: e, signer: signer, public: public, ctx: context.Background()}
	if d, ok := signer.(crypto.Decrypter); ok {
		return &decrypterKey{k, d}, nil
	}
	return &k, nil
}

// key is a Key that can sign.
type key struct {
	engine *Engine
	signer crypto.Signer
	public crypto.PublicKey
	ctx    context.Context // ends operations; of the job to pause, if the caller is inside it
}

// decrypterKey is a Key that can also decrypt.
type decrypterKey struct {
	key
	decrypter crypto.Decrypter
}

var (
	_ engine.Key           = (*key)(nil)
	_ engine.Key           = (*decrypterKey)(nil)
	_ crypto.MessageSigner = (*key)(nil)
	_ crypto.Decrypter     = (*decrypterKey)(nil)
)

func (k *key) Public() crypto.PublicKey { return k.public }

func (k *key) ForContext(ctx context.Context) crypto.Signer {
	if _, ok := jobs.FromContext(ctx); !ok {
		return k
	}
	bound := *k
	bound.ctx = ctx
	return &bound
}

func (k *decrypterKey) ForContext(ctx context.Context) crypto.Signer {
	if _, ok := jobs.FromContext(ctx); !ok {
		return k
	}
	bound := *k
	bound.ctx = ctx
	return &bound
}

func (k *key) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	rand, digest, opts = ownRand(rand), slices.Clone(digest), ownOpts(opts)
	return k.engine.do(k.ctx, func() ([]byte, error) { return k.signer.Sign(rand, digest, opts) })
}

func (k *key) SignMessage(rand io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	rand, msg, opts = ownRand(rand), slices.Clone(msg), ownOpts(opts)
	return k.engine.do(k.ctx, func() ([]byte, error) { return crypto.SignMessage(k.signer, rand, msg, opts) })
}

func (k *decrypterKey) Decrypt(rand io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	rand, msg = ownRand(rand), slices.Clone(msg)
	switch o := opts.(type) {
	case *rsa.OAEPOptions:
		if o != nil {
			own := *o
			own.Label = slices.Clone(o.Label)
			opts = &own
		}
	case *rsa.PKCS1v15DecryptOptions:
		opts = copied(o)
	}
	return k.engine.do(k.ctx, func() ([]byte, error) { return k.decrypter.Decrypt(rand, msg, opts) })
}

func ownRand(rand io.Reader) io.Reader {
	if rand == nil {
		return nil
	}
	return crand.Reader
}

func ownOpts(opts crypto.SignerOpts) crypto.SignerOpts {
	switch o := opts.(type) {
	case *rsa.PSSOptions:
		return copied(o)
	case *ed25519.Options:
		return copied(o)
	}
	return opts
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
