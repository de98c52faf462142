//go:build linux

package scenario

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/loop"
)

// SignatureRound is the process that measures one of Go's ways to sign once.
type SignatureRound struct {
	Keyfile  string `arg:""`
	Together int    // signatures that are computed together by jobs of a loop; 0: one after another, by crypto/rsa without a loop
	Duration time.Duration
}

// signed is what one way did.
type signed struct {
	Signatures int64         `json:"signatures"`
	Batches    int64         `json:"batches"`
	CPU        time.Duration `json:"cpu_ns"`
	Sizes      []uint64      `json:"batch_sizes,omitempty"` // how many batches of each size there were
}

func (s *signed) perSignature() float64 {
	return float64(s.CPU.Nanoseconds()) / 1e3 / float64(s.Signatures)
}

func (s *signed) perBatch() float64 {
	return float64(s.CPU.Nanoseconds()) / 1e3 / float64(s.Batches)
}

// signingWay is one way.
type signingWay struct {
	name string
	size int // of batches, or 0
}

// Name is for the rounds.
func (w signingWay) Name() string { return w.name }

const wayCryptoRSA = "crypto/rsa"

// batchSizes are those that a steady load can have: five to seven requests are
// computed as four and the rest.
var batchSizes = []int{1, 2, 3, 4, 8}

// batchWay is the name of the engine's way with batches of n.
func batchWay(n int) string { return fmt.Sprintf("multibuffer, %d together", n) }

func (r *SignatureRound) Run(ctx context.Context) error {
	b, err := os.ReadFile(r.Keyfile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return fmt.Errorf("%s is no PEM file", r.Keyfile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Keyfile, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s has no RSA key", r.Keyfile)
	}
	res, err := r.measure(ctx, key)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

func (r *SignatureRound) measure(ctx context.Context, key *rsa.PrivateKey) (*signed, error) {
	if r.Together == 0 {
		return signPlain(ctx, key, r.Duration)
	}
	return signTogether(ctx, key, r.Together, r.Duration)
}

var signedDigest = sha256.Sum256([]byte("signed"))

// signWhile makes one signature after another, as long as more says so of their
// number, and returns that. They are those of a TLS 1.2 server with such a key
// (PKCS #1 v1.5; `openssl speed` makes them too).
func signWhile(ctx context.Context, key crypto.Signer, more func(n int64) bool) (n int64, _ error) {
	for ; more(n); n++ {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		sig, err := key.Sign(rand.Reader, signedDigest[:], crypto.SHA256)
		if err == nil && n == 0 {
			err = rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA256, signedDigest[:], sig)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// until returns a function that is true until a moment. Of jobs that count side by
// side, the first decides for all: or else fewer would make the last batch.
func until(end time.Time) (more func(n int64) bool) {
	asked, before := int64(-1), true
	return func(n int64) bool {
		if n > asked {
			asked, before = n, time.Now().Before(end)
		}
		return before
	}
}

// cpuOf returns the CPU time in which f signs for a while. A fifth of that time is
// the warm-up before.
func cpuOf(d time.Duration, f func(more func(n int64) bool) error) (time.Duration, error) {
	if err := f(until(time.Now().Add(d / 5))); err != nil {
		return 0, err
	}
	before, err := process.CPUTime(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := f(until(time.Now().Add(d))); err != nil {
		return 0, err
	}
	after, err := process.CPUTime(os.Getpid())
	return after - before, err
}

// signPlain signs with crypto/rsa, one after another.
func signPlain(ctx context.Context, key *rsa.PrivateKey, d time.Duration) (*signed, error) {
	res := new(signed)
	var err error
	res.CPU, err = cpuOf(d, func(more func(int64) bool) (err error) {
		res.Signatures, err = signWhile(ctx, key, more)
		return err
	})
	res.Batches = res.Signatures
	return res, err
}

// signTogether has n jobs of a loop sign, each one signature after another: so
// they are computed n at a time.
func signTogether(ctx context.Context, key *rsa.PrivateKey, n int, d time.Duration) (*signed, error) {
	e, err := multibuffer.New(multibuffer.Config{MinBatch: 1})
	if err != nil {
		return nil, err
	}
	signer, err := e.Key(key)
	if err != nil {
		return nil, err
	}
	var before multibuffer.Stats
	cpu, err := cpuOf(d, func(more func(int64) bool) error {
		before = e.Stats()
		return onLoop(ctx, n, func(ctx context.Context) error {
			_, err := signWhile(ctx, signer.(engine.Key).ForContext(ctx), more)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	after := e.Stats()
	res := &signed{Signatures: int64(after.Operations - before.Operations), Batches: int64(after.Batches - before.Batches), CPU: cpu}
	for i := range after.BatchSizes {
		res.Sizes = append(res.Sizes, after.BatchSizes[i]-before.BatchSizes[i])
	}
	if full := float64(res.Sizes[n]) / float64(res.Batches); full < 0.99 {
		return nil, fmt.Errorf("only %.0f %% of the batches were of %d: %v", 100*full, n, res.Sizes)
	}
	return res, nil
}

// onLoop runs n jobs on a loop until all have ended, or one has failed.
func onLoop(ctx context.Context, n int, job func(context.Context) error) error {
	l, err := loop.New(loop.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	var failed error // the jobs run on one thread
	left := n
	for range n {
		err := l.Go(func(ctx context.Context) error {
			if err := job(ctx); err != nil {
				failed, left = err, 1
			}
			if left--; left == 0 {
				l.Close()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := l.Run(ctx); err != nil {
		return err
	}
	return failed
}
