// Package multibuffer computes up to eight RSA signatures together, in the lanes of
// the processor's AVX-512 registers. It is for TLS servers with RSA keys, which
// spend most of a handshake on that signature. They may be servers on an event loop,
// or servers with a goroutine for each connection, such as net/http's:
//
//	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
//	...
//	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
//		log.Print(err) // not on this machine: the key is what it was
//	}
//	server := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
//
// On an event loop, the key has to know the job that signs, so that the job can
// pause. [engine.GetCertificate] sees to that:
//
//	handler := &loop.TLSHandler{Config: &tls.Config{
//		GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
//			return &cert, nil
//		}),
//	}}
//
// [New] and [Engine.Key] do what [Wrap] does for those who want an [Engine] of their
// own, with a [Config].
//
// # What is computed together
//
// Requests for keys of the same size share a batch, even if the keys differ.
//
// Of goroutines, one that signs leads: it yields its processor twice, so that other
// goroutines can reach their Sign, and computes what has come by then. It waits for
// nobody: a goroutine that signs alone goes on at once. While it computes, others
// gather for the next batch. No goroutine is started, and there is nothing to close.
//
// On a loop, Sign pauses the handshake's job and adds a request to the loop's batch.
// A batch is computed
//
//   - when eight requests wait, after the jobs that were ready have run;
//   - when the loop has nothing left to do and would sleep, so that a single
//     client never waits for others;
//   - when its oldest request has waited for 10 ms, on a loop that is too busy to
//     sleep.
//
// Three requests or more take two lanes each, one for each prime of the key. So up to
// four requests take half as long as eight, and five to seven are computed as four and
// the rest. One or two requests would leave most lanes empty. So another kernel computes
// them, which spreads the limbs of each number over the lanes. Jobs continue in the order
// in which their requests came.
//
// Computing a batch blocks a loop, but not for longer than one signature of crypto/rsa.
// For keys of 2048, 3072 and 4096 bits, one signature took 0.28, 0.67 and 1.5 ms, eight
// took 0.87, 2.6 and 6.1 ms, and one of crypto/rsa took 0.95, 2.9 and 6.9 ms. (Intel
// Xeon, 2026-11-26; scenario "signatures" of the benchmarks.) So batches pay off from
// the first request. With [Config].Worker another thread computes while the loop serves
// other jobs, which is useful if a processor is free for it.
//
// A signature leaves the package only after it has been verified with the public
// key. If one does not verify, crypto/rsa makes another ([Stats].Fallbacks).
// PKCS #1 v1.5 signatures are identical to those of crypto/rsa. For PSS the salt
// is drawn as crypto/rsa draws it. Input that crypto/rsa refuses gets the error of
// crypto/rsa.
//
// crypto/rsa also decrypts, which is needed for the RSA key exchange of TLS 1.2 (the
// TLS_RSA_ cipher suites).
//
// # Constant time
//
// No branch, index or address depends on a key or a message, neither in the
// assembly nor in the Go code around it. (This does not cover Validate and
// Precompute, which crypto/rsa runs when Engine.Key takes a key.) Three checks in
// internal/rsax8 confirm it; its package comment says more:
//
//   - A test reads the assembly, and allows only a few kinds of instructions,
//     addresses and branches.
//   - A test traces operations with shortened exponents, instruction by
//     instruction, and expects the same trace for different keys and messages.
//   - A benchmark compares timings statistically.
//
// Working memory, requests, vector and mask registers are wiped after use. Stacks are
// not, because Go moves them.
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

// Errors of this package. They are wrapped in errors that give the reason.
var (
	// ErrUnsupported says that this machine or program cannot use the package.
	ErrUnsupported = errors.New("multibuffer: not supported")
	// ErrFIPS says that the program runs in FIPS 140 mode, where a validated module
	// must do all cryptography, or that it is built with BoringCrypto, which is such
	// a module. An error that matches it also matches ErrUnsupported.
	ErrFIPS = errors.New("FIPS 140 mode is on")
	// ErrInvalidConfig says that New cannot use the Config.
	ErrInvalidConfig = errors.New("multibuffer: invalid configuration")
	// ErrInvalidKey says that a key is missing or incomplete, or that its Validate
	// refuses it.
	ErrInvalidKey = errors.New("multibuffer: invalid key")
	// ErrUnsupportedKey says that an RSA key cannot be computed in lanes. The
	// original key can still be used.
	ErrUnsupportedKey = errors.New("multibuffer: unsupported key")
)

// Supported returns nil if the package can be used, or an error that matches
// ErrUnsupported and says why not. It may be called from any goroutine.
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
		{"AVX-512 DQ", cpu.X86.HasAVX512DQ},
		{"AVX-512 BW", cpu.X86.HasAVX512BW},
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

// defaultMinBatch is the default of Config.MinBatch.
const defaultMinBatch = 1

// Config configures an Engine. The zero value is a good configuration.
type Config struct {
	// MinBatch is the fewest requests that are computed together, 1 to 8; 0 means
	// 1. If fewer are due, their jobs or goroutines call crypto/rsa one by one. A key
	// that is not bound to its job does not heed this.
	MinBatch int

	// Worker makes a separate goroutine compute the batches of jobs, one at a time
	// for each loop, while the loop gathers the next one. crypto/rsa still runs on the loop's
	// thread. Worker is off by default: where the worker shared the loop's core, it
	// used a tenth more CPU and made other connections wait longer (p99 of 4.4 ms
	// instead of 1.8; scenario "blocking" of the benchmarks).
	Worker bool

	// OnBatch, if not nil, is called for every batch, after its jobs have been made
	// ready or its goroutines woken. For jobs it is called on the loop's goroutine,
	// outside any job. For goroutines, and for a job whose key is not bound to it,
	// it is called on one of those that have signed, before its Sign returns.
	// Several loops and goroutines may call it at the same time. On a loop, the loop
	// gets its panic; elsewhere the panic ends that Sign and no other.
	OnBatch func(Batch)
}

// Batch describes a batch to Config.OnBatch.
type Batch struct {
	Requests  int           // 1 to 8
	Bits      int           // the size of the keys
	Fallbacks int           // results that did not verify
	Waited    time.Duration // from the oldest request's Sign to the start of the computation
	Took      time.Duration // the computation
}

// Engine gathers the operations of its keys: those of goroutines together, and
// those of the jobs of each loop. It is made by New and need not be closed. Its
// methods may be called from any goroutine.
//
// A program needs only one Engine, which can also take keys added later. An
// Engine's data on a loop (about 100 KB for each size of key) stays there until
// the loop is gone. For goroutines there is as much for each processor at most.
type Engine struct {
	cfg   Config
	stats counters
	group group // of goroutines

	// Tests replace these.
	do    func(*rsax8.Unit, []*rsax8.Request)
	now   func() time.Duration // a monotonic clock
	yield func()               // lets other goroutines run
}

// New returns an Engine. Its errors are ErrInvalidConfig and those of Supported.
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
	e := &Engine{
		cfg:   cfg,
		do:    (*rsax8.Unit).Do,
		now:   func() time.Duration { return time.Since(epoch) },
		yield: runtime.Gosched,
	}
	e.group.engine = e
	return e, nil
}

// Key returns a signer that gathers the signatures of key. If key is an
// *rsa.PrivateKey of 2048, 3072 or 4096 bits with two primes, the signer is a
// *Key, which holds a copy of key. Key returns ErrUnsupportedKey for other RSA
// keys that cannot be computed in lanes, and ErrInvalidKey for a key that its
// Validate refuses. Any other kind of signer (ECDSA, Ed25519, a hardware key) is
// returned unchanged.
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
		return nil, err // not k, which would be a crypto.Signer holding a nil *Key
	}
	return k, nil
}
