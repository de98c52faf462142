//go:build linux

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/loop"
)

// signatureRound is the process that measures each of Go's ways to sign once.
type signatureRound struct {
	Keyfile  string        `arg:""`
	Duration time.Duration // of one way
	Backward bool
	Batches  bool `default:"true" negatable:""`
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
	size int // of batches, 0 for crypto/rsa without a loop
}

// batchSizes are those that a steady load can have: five to seven requests are
// computed as four and the rest.
var batchSizes = []int{1, 2, 3, 4, 8}

// goWays returns the ways that are measured in Go.
func goWays(batches bool) []signingWay {
	ways := []signingWay{{wayCryptoRSA, 0}}
	if batches {
		for _, n := range batchSizes {
			ways = append(ways, signingWay{goWayName(n), n})
		}
	}
	return ways
}

const wayCryptoRSA = "crypto/rsa"

// goWayName is the name of the engine's way with batches of n.
func goWayName(n int) string { return fmt.Sprintf("multibuffer, %d together", n) }

func (r *signatureRound) Run(ctx context.Context) error {
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
	ways := goWays(r.Batches)
	if r.Backward {
		slices.Reverse(ways)
	}
	results := make(map[string]*signed)
	for _, w := range ways {
		if w.size == 0 {
			results[w.name], err = signPlain(ctx, key, r.Duration)
		} else {
			results[w.name], err = signTogether(ctx, key, w.size, r.Duration)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

// sign makes one signature, as a TLS 1.2 server with such a key does (PKCS #1
// v1.5; `openssl speed` does so too).
func sign(key crypto.Signer, digest []byte) ([]byte, error) {
	return key.Sign(rand.Reader, digest, crypto.SHA256)
}

var signedDigest = sha256.Sum256([]byte("signed"))

// signPlain signs with crypto/rsa, one after another.
func signPlain(ctx context.Context, key *rsa.PrivateKey, d time.Duration) (*signed, error) {
	res := new(signed)
	for _, limit := range []time.Duration{d / 5, d} { // the first is the warm-up
		before, err := bench.CPUTime(os.Getpid())
		if err != nil {
			return nil, err
		}
		*res = signed{}
		for begin := time.Now(); time.Since(begin) < limit; res.Signatures++ {
			if _, err := sign(key, signedDigest[:]); err != nil {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
		after, err := bench.CPUTime(os.Getpid())
		if err != nil {
			return nil, err
		}
		res.CPU, res.Batches = after-before, res.Signatures
	}
	return res, nil
}

// signTogether runs n jobs on a loop, each of which makes one signature after
// another: so they are computed n at a time.
func signTogether(ctx context.Context, key *rsa.PrivateKey, n int, d time.Duration) (*signed, error) {
	e, err := multibuffer.New(multibuffer.Config{MinBatch: 1})
	if err != nil {
		return nil, err
	}
	signer, err := e.Key(key)
	if err != nil {
		return nil, err
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		return nil, err
	}
	defer l.Close()

	// All of this belongs to the loop's jobs.
	var before time.Duration
	begin := time.Now()
	var statsBefore multibuffer.Stats
	warm, done := false, false
	res := new(signed)
	var failed error
	left := n

	job := func(ctx context.Context) error {
		defer func() {
			if left--; left == 0 {
				l.Close()
			}
		}()
		signer := signer.(engine.Key).ForContext(ctx)
		for first := true; !done; first = false {
			sig, err := sign(signer, signedDigest[:])
			if err == nil && first {
				err = rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, signedDigest[:], sig)
			}
			switch since := time.Since(begin); {
			case err != nil:
				done, failed = true, errors.Join(failed, err)
			case !warm && since > d/5:
				warm = true
				var err error
				before, err = bench.CPUTime(os.Getpid())
				failed = errors.Join(failed, err)
				statsBefore, begin = e.Stats(), time.Now()
			case warm && !done && since > d:
				after, err := bench.CPUTime(os.Getpid())
				failed = errors.Join(failed, err)
				res.count(after-before, statsBefore, e.Stats())
				done = true
			}
		}
		return nil
	}
	for range n {
		if err := l.Go(job); err != nil {
			return nil, err
		}
	}
	if err := l.Run(ctx); err != nil || failed != nil {
		return nil, errors.Join(err, failed)
	}
	if full := float64(res.Sizes[n]) / float64(res.Batches); full < 0.99 {
		return nil, fmt.Errorf("only %.0f %% of the batches were of %d: %v", 100*full, n, res.Sizes)
	}
	return res, nil
}

func (s *signed) count(cpu time.Duration, before, after multibuffer.Stats) {
	s.CPU = cpu
	s.Signatures = int64(after.Operations - before.Operations)
	s.Batches = int64(after.Batches - before.Batches)
	for i := range after.BatchSizes {
		s.Sizes = append(s.Sizes, after.BatchSizes[i]-before.BatchSizes[i])
	}
}
