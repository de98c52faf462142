package multibuffer

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"sync"
)

var shared = sync.OnceValues(func() (*Engine, error) { return New(Config{}) })

// Wrap returns a key that makes the signatures of an RSA key in lanes, in servers
// with a goroutine for each connection (net/http, gRPC) as well as in jobs:
//
//	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
//		log.Print(err) // cert.PrivateKey is what it was
//	}
//
// All keys of the program share one Engine, that of [Shared]. If the key cannot be
// computed in lanes, Wrap returns it as it is, and an error that says why: those of
// [Supported], and those of [Engine.Key]. A key of another kind than RSA is
// returned as it is, without an error: there is nothing to gain. Wrap may be called
// from any goroutine.
func Wrap(key crypto.PrivateKey) (crypto.PrivateKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		e, err := shared()
		if err != nil {
			return key, err
		}
		k, err := e.newKey(key)
		if err != nil {
			return key, err
		}
		return k, nil
	case crypto.Signer:
		return key, nil
	}
	return key, fmt.Errorf("%w: %T cannot sign", ErrInvalidKey, key)
}

// Shared returns the Engine of the keys that Wrap returns. It is nil where the
// package cannot be used; the Stats of nil are zero.
func Shared() *Engine {
	e, _ := shared()
	return e
}
