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

// engineKind names a way to do private-key operations, on the command line and in
// output.
type engineKind string

const (
	engineAuto        = engineKind("auto") // multibuffer if it works, else none
	engineNone        = engineKind("none")
	engineOffload     = engineKind("offload")
	engineMultibuffer = engineKind("multibuffer")
)

var engineKinds = []string{"auto", "none", "offload", "multibuffer"}

func (k *engineKind) UnmarshalText(text []byte) error {
	if !slices.Contains(engineKinds, string(text)) {
		return fmt.Errorf("unknown engine %q: the engines are %s", text, strings.Join(engineKinds, ", "))
	}
	*k = engineKind(text)
	return nil
}

// engineOptions says how to make a server's engines.
type engineOptions struct {
	kind    engineKind
	workers int  // of offload; 0: one for each processor that has no loop
	loops   int  // of the server
	worker  bool // multibuffer computes on a thread of its own

	// Callbacks for metrics; nil if not wanted.
	onSign      func(kind engineKind, took time.Duration) // from Sign to the result
	onBatch     func(multibuffer.Batch)
	onOperation func(offload.Operation)
}

// engines are a server's key engines. They outlive its keys: after a reload, a
// handshake may still wait for an operation with the old key. They hold no
// resources between operations, so they need no closing.
type engines struct {
	opts        engineOptions
	offload     *offload.Engine
	multibuffer *multibuffer.Engine // nil: it does not work here
	unsupported error               // why it does not
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
	refused string // why it is not the engine that was asked for; empty if it is
}

func (c engineChoice) String() string { return fmt.Sprintf("%s (%s)", c.engine, c.why) }

// warnEngine prints a warning if the chosen engine is not the one asked for.
func warnEngine(con *console, asked engineKind, choice engineChoice) {
	if choice.refused != "" {
		fmt.Fprintf(con.err, "tlsdemo: --engine %s does not work (%s): using engine %s instead\n", asked, choice.refused, choice.engine)
	}
}

// take returns cert with its key in the engine that was asked for. If that engine
// does not take the key, the next best one does.
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
		signer = watchKey(signer, func() func() {
			begin := time.Now()
			return func() { on(choice.engine, time.Since(begin)) }
		})
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
	// Other signatures take less time than handing them to another thread.
	return key, choice, nil
}

func (e *engines) toOffload(key crypto.Signer, choice engineChoice) (crypto.Signer, engineChoice, error) {
	signer, err := e.offload.Key(key)
	if err != nil {
		return nil, choice, err
	}
	return signer, choice, nil
}

// toMultibuffer returns the key in the multibuffer engine, or an error that says
// why it cannot be there.
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

// keyName describes a kind of key, for people.
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

// watchKey returns a key that reports its signatures. Sign calls watch when it
// begins, and calls the function that watch returned when it ends. The returned key
// can decrypt if key can: crypto/tls offers the TLS_RSA_ cipher suites only then.
func watchKey(key crypto.Signer, watch func() (ended func())) crypto.Signer {
	w := watchedKey{key, watch}
	if d, ok := key.(crypto.Decrypter); ok {
		return &watchedDecrypter{w, d}
	}
	return &w
}

type watchedKey struct {
	crypto.Signer
	watch func() (ended func())
}

func (k *watchedKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	defer k.watch()()
	return k.Signer.Sign(rand, digest, opts)
}

// ForContext makes watchedKey an engine.Key, whether or not the key inside is one.
func (k *watchedKey) ForContext(ctx context.Context) crypto.Signer {
	key := k.Signer
	if inner, ok := key.(engine.Key); ok {
		key = inner.ForContext(ctx)
	}
	return watchKey(key, k.watch)
}

type watchedDecrypter struct {
	watchedKey
	decrypter crypto.Decrypter
}

// Decrypt decrypts with the key inside, and reports nothing.
func (k *watchedDecrypter) Decrypt(rand io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.decrypter.Decrypt(rand, msg, opts)
}
