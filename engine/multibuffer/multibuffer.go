// Package multibuffer computes the RSA signatures of up to eight jobs of an
// event loop together, in the lanes of the processor's AVX-512 registers.
// It is for TLS servers with RSA keys, whose handshakes are mostly that
// signature.
//
//	eng, err := multibuffer.New(multibuffer.Config{})
//	if err != nil {
//		// Not on this machine: errors.Is(err, multibuffer.ErrUnsupported).
//	}
//	signer, err := eng.Key(cert.PrivateKey.(crypto.Signer))
//	cert.PrivateKey = signer
//	handler := &loop.TLSHandler{Config: &tls.Config{
//		GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
//			return &cert, nil
//		}),
//	}}
//
// A [Key] that is used like this pauses the handshake's job in Sign and hands
// the request to the loop's batch. Requests for keys of one size share a
// batch, whichever keys they are. A batch is computed
//
//   - when eight requests wait, after the jobs that were ready have run;
//   - at the latest when the loop has nothing left to do and would sleep, so
//     that a lone client never waits for company. Up to four requests, which
//     fill the lanes with two primes each, take half as long as eight, so five
//     to seven are computed as four and the rest;
//   - when its oldest request has waited for 10 ms, on a loop that has so much
//     other work that it never sleeps.
//
// The jobs go on in the order in which their requests came.
//
// Computing a batch blocks the loop, as one signature of crypto/rsa does, and
// for less time: eight RSA-2048 signatures took 0.55 ms where crypto/rsa took
// 0.72 ms for one, 3072 bits 1.7 and 2.2 ms, 4096 bits 3.9 and 4.8 ms, a single
// one half of that (AMD EPYC, Zen 5; BenchmarkDo in internal/rsax8). So lanes pay
// from the first request. With [Config].Worker another thread computes, and the
// loop serves its other jobs meanwhile: of use where a processor is free for it.
//
// A signature leaves the package only if it has been verified with the public
// key; should one not verify, crypto/rsa makes another ([Stats].Fallbacks).
// PKCS #1 v1.5 signatures are bit for bit those of crypto/rsa, for PSS ones
// the salt is drawn as crypto/rsa draws it, and input that crypto/rsa refuses
// gets its error.
//
// crypto/rsa also does what is not gathered: the operations of keys that are
// used outside a job, and decryption, which the RSA key exchange of TLS 1.2
// (the TLS_RSA_ cipher suites) is made of.
//
// # Constant time
//
// No branch, index or address depends on a key or a message, in the assembly
// and in the Go code around it. (What crypto/rsa does when a key is taken, its
// Validate and Precompute, is its own.) Three things check that: a test reads
// the assembly, whose instructions, addresses and branches are of few kinds;
// another follows operations instruction by instruction, with exponents that
// are shortened, and finds the same ones for different keys and messages; and a
// benchmark compares timings statistically. They are in internal/rsax8, whose
// comment says more. Working memory, requests and vector registers are wiped
// after use; stacks, which Go moves, are not.
package multibuffer

import (
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// Errors of this package, which come wrapped with the reason.
var (
	// ErrUnsupported: this machine or program cannot use the package.
	ErrUnsupported = errors.New("multibuffer: not supported")
	// ErrFIPS: the program runs in FIPS 140 mode, which wants all cryptography
	// done by a validated module; or is built with BoringCrypto, which is one. It
	// comes with ErrUnsupported.
	ErrFIPS = errors.New("FIPS 140 mode is on")
	// ErrInvalidConfig: New cannot work with the Config.
	ErrInvalidConfig = errors.New("multibuffer: invalid configuration")
	// ErrInvalidKey: what is given as a key is none, or crypto/rsa's Validate
	// refuses it.
	ErrInvalidKey = errors.New("multibuffer: invalid key")
	// ErrUnsupportedKey: an RSA key that cannot be computed in lanes. It can be
	// used as it is.
	ErrUnsupportedKey = errors.New("multibuffer: unsupported key")
)

// Supported returns nil if New can work, else an error that matches
// ErrUnsupported and says why. It may be called from any goroutine.
func Supported() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("%w: on %s, only on amd64", ErrUnsupported, runtime.GOARCH)
	}
	if fips140.Enabled() || boringEnabled() {
		return fmt.Errorf("%w: %w", ErrUnsupported, ErrFIPS)
	}
	var missing []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX-512 F", cpu.X86.HasAVX512F},
		{"AVX-512 IFMA", cpu.X86.HasAVX512IFMA},
	} {
		if !f.has {
			missing = append(missing, f.name)
		}
	}
	if missing != nil {
		return fmt.Errorf("%w: the CPU lacks %s", ErrUnsupported, strings.Join(missing, " and "))
	}
	if !rsax8.Supported() {
		return fmt.Errorf("%w: the CPU, or this build, lacks instructions", ErrUnsupported)
	}
	return nil
}

// defaultMinBatch is Config.MinBatch's default.
const defaultMinBatch = 1

// Config configures an Engine. The zero value is a good configuration.
type Config struct {
	// MinBatch is the fewest requests that are computed together, 1 to 8; 0 for
	// the default, 1. When fewer are to be computed, crypto/rsa does it one by
	// one, in their jobs.
	MinBatch int

	// Worker has batches computed on a goroutine of their own, one at a time
	// for each loop, while the next one is gathered. What crypto/rsa does is
	// still done on the loop's thread. It is off by default because, where the
	// worker shared the loop's core, it cost a tenth more CPU and kept other
	// connections waiting longer (p99 of 4.4 ms instead of 1.8; benchmarks
	// blocking).
	Worker bool

	// OnBatch, if not nil, is told of every batch when its jobs have been made
	// ready. It is called on the loop's goroutine, outside any job, by every
	// loop that uses the Engine: by several at a time, if there are.
	OnBatch func(Batch)
}

// Batch is what Config.OnBatch is told.
type Batch struct {
	Requests  int           // 1 to 8
	Bits      int           // the size of the keys
	Fallbacks int           // results that did not verify
	Waited    time.Duration // from the oldest request's Sign to the computation
	Took      time.Duration // the computation
}

// Engine gathers the operations of its keys: by loop, for any number of loops.
// It is made by New, has nothing to close, and its methods may be called from
// any goroutine. A program needs one, which it also gives the keys that come
// later: what an Engine has on a loop (some 100 KB a size of key) stays there
// until the loop is gone.
type Engine struct {
	cfg   Config
	stats counters

	// Tests replace these.
	do  func(*rsax8.Unit, []*rsax8.Request)
	now func() time.Duration // a monotonic clock
}

// New returns an Engine. Its errors are Supported's and ErrInvalidConfig.
func New(cfg Config) (*Engine, error) {
	if cfg.MinBatch < 0 || cfg.MinBatch > rsax8.Lanes {
		return nil, fmt.Errorf("%w: MinBatch is %d, not 0 to %d", ErrInvalidConfig, cfg.MinBatch, rsax8.Lanes)
	}
	if cfg.MinBatch == 0 {
		cfg.MinBatch = defaultMinBatch
	}
	if err := Supported(); err != nil {
		return nil, err
	}
	epoch := time.Now()
	return &Engine{
		cfg: cfg,
		do:  (*rsax8.Unit).Do,
		now: func() time.Duration { return time.Since(epoch) },
	}, nil
}

// Key returns key with its signatures gathered: a *Key, if key is an
// *rsa.PrivateKey of 2048, 3072 or 4096 bits with two primes, of which it keeps
// a copy. An RSA key that is none of these, or is otherwise beyond the lanes, is
// ErrUnsupportedKey; one that its Validate refuses is ErrInvalidKey. Every other
// kind of signer (ECDSA, Ed25519, a hardware key) is returned as it is.
func (e *Engine) Key(key crypto.Signer) (crypto.Signer, error) {
	priv, ok := key.(*rsa.PrivateKey)
	if !ok {
		if key == nil {
			return nil, fmt.Errorf("%w: no signer", ErrInvalidKey)
		}
		return key, nil
	}
	k, err := e.newKey(priv)
	if err != nil {
		return nil, err // and not a crypto.Signer that holds a nil *Key
	}
	return k, nil
}
