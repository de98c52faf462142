package multibuffer

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"sync"
)

var shared = sync.OnceValues(func() (*Engine, error) { return New(Config{}) })

// Wrap returns a key that makes the signatures of an RSA key in lanes, in servers
// with a goroutine for each connection (net/http, gRPC), and in jobs with
// engine.GetCertificate:
//
//	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
//		log.Print(err) // cert.PrivateKey is what it was
//	}
//
// All keys of the program share one Engine, that of [Shared]. If the key cannot be
// computed in lanes, Wrap returns it as it is, and an error that says why: those of
// [Supported], and those of [Engine.Key]. Another kind of signer is returned as it
// is, without an error: there is nothing to gain. Anything else is returned with
// ErrInvalidKey. Wrap may be called from any goroutine.
//
// Tests with testing/synctest make an Engine in each bubble with New: the shared one
// must not be used both inside and outside of a bubble.
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
