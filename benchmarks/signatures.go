//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/bench"
)

// signatures is the part that measures RSA signatures by themselves.
type signatures struct {
	options
	Keys     []string      `enum:"rsa2048,rsa3072,rsa4096" default:"rsa2048,rsa3072,rsa4096" help:"Keys, of ${enum}."`
	Rounds   int           `default:"5" help:"Rounds; in each, every way is measured once."`
	Duration time.Duration `default:"500ms" help:"How long a way is measured in a round. (OpenSSL's program takes a second.)"`
}

const wayOpenSSL = "openssl speed"

func (s *signatures) Run(ctx context.Context) error {
	if s.Quick {
		s.Rounds, s.Duration = 1, 50*time.Millisecond
	}
	r, err := s.newReport("signatures")
	if err != nil {
		return err
	}
	notes := []string{fmt.Sprintf("PKCS #1 v1.5 with SHA-256 on one core, CPU time, %d rounds of %v for each way in turn: median (least–greatest).", s.Rounds, s.Duration)}
	unsupported := multibuffer.Supported()
	if unsupported != nil {
		notes = append(notes, fmt.Sprintf("multibuffer: SKIPPED: %v.", unsupported))
	}
	version, err := exec.CommandContext(ctx, "openssl", "version").Output()
	haveOpenSSL := err == nil
	if haveOpenSSL {
		notes = append(notes, fmt.Sprintf("openssl speed -seconds 1 signs 36 bytes without hashing; %s.", bytes.TrimSpace(version)))
	} else {
		notes = append(notes, fmt.Sprintf("openssl: SKIPPED: %v.", err))
	}
	var names []string
	for _, w := range goWays(unsupported == nil) {
		names = append(names, w.name)
	}
	if haveOpenSSL {
		names = append(names, wayOpenSSL)
	}
	return inTempDir(func(dir string) error {
		results := make(map[string]map[string][]*signed) // by key and way
		var failed error
		t := &bench.Table{Header: []string{"key, way", "µs a batch", "µs a signature", "signatures/s", "crypto/rsa's time / this"}}
		for _, kind := range s.Keys {
			keys, err := newKeys(dir, kind)
			if err != nil {
				return err
			}
			results[kind] = make(map[string][]*signed)
			for round := range s.Rounds {
				progress("measuring %s, round %d of %d", kind, round+1, s.Rounds)
				res, err := s.round(ctx, kind, keys.file, round%2 == 1, unsupported == nil, haveOpenSSL)
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s, round %d: %w", kind, round+1, cmp.Or(context.Cause(ctx), err)))
					break
				}
				for name, one := range res {
					results[kind][name] = append(results[kind][name], one)
				}
			}
			addSignatureRows(t, kind, names, results[kind])
			if ctx.Err() != nil {
				break
			}
		}
		r.Results = results
		plotSignatures(r, s.Keys, names, results)
		return errors.Join(r.finish(&s.options, notes, t), failed)
	})
}

// round measures every way once, on the same core.
func (s *signatures) round(ctx context.Context, kind, keyFile string, backward, batches, haveOpenSSL bool) (map[string]*signed, error) {
	results := make(map[string]*signed)
	parts := []func() error{func() error {
		args := []string{keyFile, "--duration", s.Duration.String(), fmt.Sprintf("--batches=%t", batches)}
		if backward {
			args = append(args, "--backward")
		}
		return runClient(ctx, s.ServerCPU, &results, "signature-round", args...)
	}}
	if haveOpenSSL {
		parts = append(parts, func() (err error) {
			results[wayOpenSSL], err = s.openSSL(ctx, strings.TrimPrefix(kind, "rsa"))
			return err
		})
	}
	if backward {
		slices.Reverse(parts)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// openSSL runs OpenSSL's own benchmark.
func (s *signatures) openSSL(ctx context.Context, bits string) (*signed, error) {
	cmd := exec.CommandContext(ctx, "openssl", "speed", "-seconds", "1", "rsa"+bits)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := bench.OnCPU(s.ServerCPU, cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("openssl speed: %w\n%s", err, complaints.Bytes())
	}
	return parseOpenSSL(out.String(), bits)
}

// parseOpenSSL reads the table of `openssl speed`. Its columns differ between
// versions, their names do not:
//
//	                  sign    verify    sign/s verify/s
//	rsa 2048 bits 0.000243s 0.000016s   4115.2  62500.0
func parseOpenSSL(out, bits string) (*signed, error) {
	var columns []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if slices.Contains(fields, "sign/s") {
			columns = fields
			continue
		}
		if len(fields) < 3 || strings.ToLower(fields[0]) != "rsa" || fields[1] != bits || fields[2] != "bits" {
			continue
		}
		i := slices.Index(columns, "sign/s")
		if i < 0 || len(fields) != 3+len(columns) {
			break
		}
		perSecond, err := strconv.ParseFloat(fields[3+i], 64)
		if err != nil || perSecond <= 0 {
			break
		}
		const many = 1_000_000 // signatures, whose time is known exactly enough
		return &signed{Signatures: many, Batches: many, CPU: time.Duration(many / perSecond * float64(time.Second))}, nil
	}
	return nil, fmt.Errorf("openssl speed tells no rate of %s-bit signatures:\n%s", bits, out)
}

func addSignatureRows(t *bench.Table, kind string, names []string, results map[string][]*signed) {
	figures := func(name string, f func(*signed) float64) (values []float64) {
		for _, r := range results[name] {
			values = append(values, f(r))
		}
		return values
	}
	rate := func(r *signed) float64 { return 1e6 / r.perSignature() }
	for _, name := range names {
		t.Add(kind+", "+name, bench.Spread(figures(name, (*signed).perBatch)), bench.Spread(figures(name, (*signed).perSignature)), bench.Spread(figures(name, rate)),
			bench.Ratio(figures(wayCryptoRSA, (*signed).perSignature), figures(name, (*signed).perSignature)))
	}
}
