//go:build linux

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/engine/multibuffer"
)

func init() {
	register(Entry{
		Name: "signatures", Title: "Signatures", Help: "RSA signatures: one by one and in batches, without a network.",
		New: func() Scenario { return new(signatures) }, Usual: true,
	})
}

// signatures measures RSA signatures by themselves. signatureround.go is the
// process that signs in Go.
type signatures struct {
	Keys     []string      `enum:"${rsakeys}" default:"${rsakeys}" help:"Keys: any of ${enum}."`
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every way is measured once."`
	Duration time.Duration `default:"500ms" min:"1ns" help:"How long a way is measured in a round. (OpenSSL's program takes a second.)"`
}

const wayOpenSSL = "openssl speed"

var signatureColumns = []report.Column[*signed]{
	{Name: "µs a batch", Of: (*signed).perBatch},
	{Name: "µs a signature", Of: (*signed).perSignature},
	{Name: "signatures/s", Of: func(r *signed) float64 { return 1e6 / r.perSignature() }, Higher: true},
}

func (s *signatures) quick() { s.Rounds, s.Duration = 1, 50*time.Millisecond }

func (s *signatures) measure(ctx context.Context, r *run) error {
	r.Notef("PKCS #1 v1.5 with SHA-256 on one core, CPU time, %s of %v for each way in turn: median (least–greatest).", roundsText(s.Rounds), s.Duration)
	ways := s.ways(ctx, r)
	results := make(map[string]map[string][]*signed) // by key and way
	r.Results = results
	t := report.NewTable("", signatureColumns, "key, way")
	t.Header = append(t.Header, "crypto/rsa's time / this")
	var errs []error
	for _, kind := range s.Keys {
		keys, err := r.keysOf(kind)
		if err != nil {
			return err
		}
		process.Progress("measuring %s", kind)
		results[kind], err = collect(ctx, s.Rounds, ways, func(w signingWay) (*signed, error) { return s.one(ctx, r, w, kind, keys.File) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", kind, err))
		}
		addSignatureRows(t, kind, namesOf(ways), results[kind])
		if ctx.Err() != nil {
			break
		}
	}
	r.Add(t)
	plotSignatures(r.Report, s.Keys, namesOf(ways), results)
	return errors.Join(errs...)
}

// ways returns the ways that can run here, and notes of the others why not.
func (s *signatures) ways(ctx context.Context, r *run) []signingWay {
	ways := []signingWay{{wayCryptoRSA, 0}}
	if err := multibuffer.Supported(); err != nil {
		r.Notef("multibuffer: SKIPPED: %v.", err)
	} else {
		for _, n := range batchSizes {
			ways = append(ways, signingWay{batchWay(n), n})
		}
	}
	e, err := process.Command(ctx, "openssl", "openssl", "version").Run(process.AnyCPU)
	if err != nil {
		r.Notef("openssl: SKIPPED: %v.", err)
		return ways
	}
	r.Notef("openssl speed -seconds 1 signs 36 bytes without hashing; %s.", bytes.TrimSpace(e.Out))
	return append(ways, signingWay{wayOpenSSL, 0})
}

// one measures one way once.
func (s *signatures) one(ctx context.Context, r *run, w signingWay, kind, keyFile string) (*signed, error) {
	if w.name == wayOpenSSL {
		bits := strings.TrimPrefix(kind, "rsa")
		e, err := process.Command(ctx, wayOpenSSL, "openssl", "speed", "-seconds", "1", "rsa"+bits).Run(r.ServerCPU)
		if err != nil {
			return nil, err
		}
		return parseOpenSSL(string(e.Out), bits)
	}
	res := new(signed)
	return res, process.RunSelf(ctx, r.ServerCPU, res, "signature-round", keyFile, "--together", strconv.Itoa(w.size), "--duration", s.Duration.String())
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

func addSignatureRows(t *report.Table, kind string, names []string, results map[string][]*signed) {
	base := report.Figures(results[wayCryptoRSA], (*signed).perSignature)
	for _, name := range names {
		report.AddRow(t, results[name], signatureColumns, kind+", "+name)
		t.Append(report.Ratio(base, report.Figures(results[name], (*signed).perSignature)))
	}
}

// plotSignatures leaves out batches of two and three, which take as long as those of
// four.
func plotSignatures(r *report.Report, kinds, ways []string, results map[string]map[string][]*signed) {
	var bars []report.Bar
	for _, way := range ways {
		if way == batchWay(2) || way == batchWay(3) {
			continue
		}
		b := report.Bar{Series: way}
		for _, kind := range kinds {
			b.Values = append(b.Values, report.Figures(results[kind][way], (*signed).perSignature))
		}
		bars = append(bars, b)
	}
	r.AddBars("signatures", "CPU time of an RSA signature", "µs", kinds, true, bars...)
}
