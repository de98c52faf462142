package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
)

// engineKind names a way to do private-key operations, on the command line and
// wherever the program tells about it.
type engineKind string

const (
	engineAuto        = engineKind("auto") // multibuffer where that works, else none
	engineNone        = engineKind("none")
	engineOffload     = engineKind("offload")
	engineMultibuffer = engineKind("multibuffer")
)

var engineKinds = []string{"auto", "none", "offload", "multibuffer"}

func (k *engineKind) UnmarshalText(text []byte) error {
	if !slices.Contains(engineKinds, string(text)) {
		return fmt.Errorf("unknown engine %q, it is one of %s", text, strings.Join(engineKinds, ", "))
	}
	*k = engineKind(text)
	return nil
}

// engineOptions is what a server's engines are made of.
type engineOptions struct {
	kind    engineKind
	workers int  // of offload; 0: the processors that the loops leave
	loops   int  // of the server
	worker  bool // multibuffer computes on a thread of its own

	// What is told; nil: nobody wants to know.
	onSign      func(kind engineKind, took time.Duration) // from Sign to the result
	onBatch     func(multibuffer.Batch)
	onOperation func(offload.Operation)
}

// engines is a server's key engines. They outlive its keys: a handshake may
// still wait for the one that has been replaced. They hold nothing while no
// operation is under way, and so are not closed.
type engines struct {
	opts        engineOptions
	offload     *offload.Engine
	multibuffer *multibuffer.Engine // nil: it does not work here
	unsupported error               // why
}

func newEngines(o engineOptions) (*engines, error) {
	if o.workers == 0 {
		o.workers = max(runtime.GOMAXPROCS(0)-o.loops, 1)
	}
	e := &engines{opts: o}
	var err error
	e.offload, err = offload.New(offload.Config{Workers: o.workers, OnOperation: o.onOperation})
	if err != nil {
		return nil, err
	}
	e.multibuffer, e.unsupported = multibuffer.New(multibuffer.Config{Worker: o.worker, OnBatch: o.onBatch})
	return e, nil
}

// engineChoice says which engine does a key's operations, and why.
type engineChoice struct {
	engine  engineKind // none, offload or multibuffer
	why     string
	refused string // why it is not the one that was asked for; empty if it is
}

func (c engineChoice) String() string { return fmt.Sprintf("%s (%s)", c.engine, c.why) }

// warnEngine tells that the engine which was asked for is not the one there is.
func warnEngine(con *console, asked engineKind, choice engineChoice) {
	if choice.refused != "" {
		fmt.Fprintf(con.err, "tlsdemo: --engine %s does not work (%s): engine %s instead\n", asked, choice.refused, choice.engine)
	}
}

// take returns cert with its key in the engine that was asked for, or in the
// next best if that does not take it.
func (e *engines) take(cert *tls.Certificate) (*tls.Certificate, engineChoice, error) {
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, engineChoice{}, fmt.Errorf("a key of type %T cannot sign", cert.PrivateKey)
	}
	signer, choice, err := e.choose(key)
	if err != nil {
		return nil, choice, err
	}
	if on := e.opts.onSign; on != nil {
		signer = &watchedKey{signer, func() func() {
			begin := time.Now()
			return func() { on(choice.engine, time.Since(begin)) }
		}}
	}
	taken := *cert
	taken.PrivateKey = signer
	return &taken, choice, nil
}

func (e *engines) choose(key crypto.Signer) (crypto.Signer, engineChoice, error) {
	name := keyName(key.Public())
	switch e.opts.kind {
	case engineNone:
		return key, engineChoice{engineNone, "as asked for", ""}, nil
	case engineOffload:
		return e.toOffload(key, engineChoice{engineOffload, name, ""})
	}
	signer, obstacle := e.toMultibuffer(key)
	choice := engineChoice{engineMultibuffer, name + ", this CPU has AVX-512 IFMA", ""}
	if obstacle == nil {
		return signer, choice, nil
	}
	choice = engineChoice{engineNone, obstacle.Error(), ""}
	if e.opts.kind == engineAuto {
		return key, choice, nil
	}
	choice.refused = obstacle.Error()
	if _, ok := key.(*rsa.PrivateKey); ok {
		choice.engine = engineOffload
		return e.toOffload(key, choice)
	}
	// Other signatures take less time than to hand them to another thread.
	return key, choice, nil
}

func (e *engines) toOffload(key crypto.Signer, choice engineChoice) (crypto.Signer, engineChoice, error) {
	signer, err := e.offload.Key(key)
	if err != nil {
		return nil, choice, err
	}
	return signer, choice, nil
}

// toMultibuffer returns the key in the engine, or why it cannot be in it.
func (e *engines) toMultibuffer(key crypto.Signer) (crypto.Signer, error) {
	name := keyName(key.Public())
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return nil, fmt.Errorf("%s", name)
	}
	if e.multibuffer == nil {
		return nil, fmt.Errorf("%s, but %w", name, e.unsupported)
	}
	signer, err := e.multibuffer.Key(key)
	if err != nil {
		return nil, fmt.Errorf("%s, but %w", name, err)
	}
	return signer, nil
}

// keyName says what kind of key it is, for people.
func keyName(key crypto.PublicKey) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return "RSA key"
	case *ecdsa.PublicKey:
		return "ECDSA key"
	case ed25519.PublicKey:
		return "Ed25519 key"
	}
	return fmt.Sprintf("key of type %T", key)
}

// watchedKey is a key whose signatures are watched: watch is called when one
// begins, and what it returns when it has ended, both where Sign is called. It
// does not decrypt: the TLS_RSA_ cipher suites need that, which crypto/tls has
// left off since Go 1.22.
type watchedKey struct {
	crypto.Signer
	watch func() (ended func())
}

func (k *watchedKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	defer k.watch()()
	return k.Signer.Sign(rand, digest, opts)
}

// ForContext makes it an engine.Key, whether or not the key it watches is one.
func (k *watchedKey) ForContext(ctx context.Context) crypto.Signer {
	if inner, ok := k.Signer.(engine.Key); ok {
		return &watchedKey{inner.ForContext(ctx), k.watch}
	}
	return k
}
