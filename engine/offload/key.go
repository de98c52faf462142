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

// Key returns a key whose operations are done by the Engine's workers, which call
// signer. signer must allow Config.Workers calls at a time. The key is also a
// crypto.MessageSigner, and a crypto.Decrypter if signer is one. (Only then,
// because crypto/tls refuses to serve TLS 1.2 with an ECDSA key that has a Decrypt
// method.) Key returns ErrInvalidKey if it cannot use signer.
//
// Operations of the key itself block their caller, even inside a job. Operations
// of the key that its ForContext returns pause the job; [engine.GetCertificate]
// calls ForContext. Outside that job, such as on a goroutine that it has started
// or in another job, they block their caller too. When the context ends, its
// operations return the context's error, whatever they wait for. A result that the
// signer returns after that is dropped.
//
// Key calls signer's Public, which may block in a token, once, and the key's
// Public returns that result. Arguments of operations are copied, because a signer
// may still be working after the operation has returned with an error. Options of
// other types than those of packages rsa and ed25519 cannot be copied: do not
// change them afterwards. The signer does not get the caller's rand, which would
// be used on two goroutines. It gets crypto/rand.Reader, or nil if the caller's
// rand is nil: Go's ECDSA keys then make a deterministic signature (RFC 6979).
//
// Operations return the errors of the signer, of this package and of the context,
// and jobs.ErrCanceled. If such an error makes a TLS handshake fail, crypto/tls keeps
// only its text.
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

// key is an engine.Key that can sign.
type key struct {
	engine *Engine
	signer crypto.Signer
	public crypto.PublicKey
	ctx    context.Context // ends operations; carries the job to pause, if there is one
}

// decrypterKey is an engine.Key that can also decrypt.
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
