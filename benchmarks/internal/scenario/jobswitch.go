//go:build linux

package scenario

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

func init() {
	register(Entry{
		Name: "jobswitch", Title: "A pause and a resume", Help: "A pause and a resume, and a job's start and end: also with OpenSSL, channels, iter.Pull.",
		New: func() Scenario { return new(jobSwitch) }, Usual: true,
	})
}

// jobSwitch measures what it costs to pause and resume a job, and to start and
// finish one: with package jobs, with OpenSSL's ASYNC_JOB, with the bare coroutine
// of iter.Pull, and with two goroutines and channels.
//
// OpenSSL takes part if there is a C compiler and OpenSSL's headers (Debian:
// libssl-dev).
type jobSwitch struct {
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every way is measured once."`
	Duration time.Duration `default:"300ms" min:"1ns" help:"How long a way is measured in a round."`
}

// The operations that are measured.
const (
	resumePause = "resume+pause"
	startFinish = "start+finish"
)

// switchWay is one way to do one operation.
type switchWay struct {
	Operation string    `json:"operation"`
	With      string    `json:"with"`
	OpenSSL   bool      `json:"is_openssl"`
	NS        []float64 `json:"ns"` // that an operation took, a round each

	measure func(d time.Duration) (ns float64, err error)
}

// switchResult is what the process prints that measures.
type switchResult struct {
	OpenSSL string       `json:"openssl"`           // its version
	Skipped string       `json:"skipped,omitempty"` // why OpenSSL is missing
	Ways    []*switchWay `json:"ways"`
}

func (j *jobSwitch) quick() { j.Rounds, j.Duration = 1, 20*time.Millisecond }

func (j *jobSwitch) measure(ctx context.Context, r *run) error {
	process.Progress("measuring pauses and resumes")
	res := new(switchResult)
	if err := process.RunSelf(ctx, r.ServerCPU, res, "switch-rounds", r.dir, "--rounds", strconv.Itoa(j.Rounds), "--duration", j.Duration.String()); err != nil {
		return err
	}
	r.Results = res
	r.Notef("One thread, %s of %v for each way in turn: median (least–greatest).", roundsText(j.Rounds), j.Duration)
	if res.Skipped != "" {
		r.Notef("OpenSSL's ASYNC_JOB: SKIPPED: %s.", res.Skipped)
	} else {
		r.Note(res.OpenSSL + ".")
	}
	r.Add(switchTable(res))
	plotSwitches(r.Report, res)
	return nil
}

var switchColumns = []report.Column[float64]{{Name: "ns", Of: func(ns float64) float64 { return ns }}}

// switchTable has the ways of each operation together.
func switchTable(res *switchResult) *report.Table {
	t := report.NewTable("", switchColumns, "operation, with")
	t.Header = append(t.Header, "of OpenSSL's")
	for _, op := range []string{resumePause, startFinish} {
		var base []float64
		for _, w := range res.of(op) {
			if w.OpenSSL {
				base = w.NS
			}
			report.AddRow(t, w.NS, switchColumns, op+", "+w.With)
			t.Append(report.Ratio(w.NS, base))
		}
	}
	return t
}

// plotSwitches has a picture of each operation.
func plotSwitches(r *report.Report, res *switchResult) {
	for _, op := range []string{resumePause, startFinish} {
		var names []string
		var b report.Bar
		for _, w := range res.of(op) {
			names = append(names, w.With)
			b.Values = append(b.Values, w.NS)
		}
		r.AddBars("jobswitch-"+strings.ReplaceAll(op, "+", "-"), op, "ns", names, false, b)
	}
}

// of returns the ways of one operation.
func (r *switchResult) of(operation string) []*switchWay {
	return slices.DeleteFunc(slices.Clone(r.Ways), func(w *switchWay) bool { return w.Operation != operation })
}

// SwitchRounds is the process that measures. All ways are measured in turn, one
// round after another, so that a machine that grows slower or faster meanwhile
// does so for all of them.
type SwitchRounds struct {
	Dir      string `arg:""` // for the C program; who started this removes it
	Rounds   int
	Duration time.Duration
}

func (s *SwitchRounds) Run(ctx context.Context) error {
	res := new(switchResult)
	var err error
	if res.OpenSSL, res.Ways, err = openSSLSwitches(ctx, s.Dir); err != nil {
		lines := strings.Split(err.Error(), "\n") // a compiler says a lot
		res.Skipped = strings.Join(lines[:min(len(lines), 2)], " ")
	}
	res.Ways = append(res.Ways, goSwitches()...)
	for range s.Rounds {
		for _, w := range res.Ways {
			ns, err := w.measure(s.Duration)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.Operation, w.With, err)
			}
			w.NS = append(w.NS, ns)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// The C program is in a folder of its own, so that the go command does not take it
// for a part of this package.
//
//go:embed openssl/async.c
var asyncC []byte

// openSSLSwitches compiles the C program in dir. It returns the version of OpenSSL
// and its ways. The error says why there are none.
func openSSLSwitches(ctx context.Context, dir string) (version string, _ []*switchWay, _ error) {
	source, program := filepath.Join(dir, "async.c"), filepath.Join(dir, "async")
	if err := os.WriteFile(source, asyncC, 0o600); err != nil {
		return "", nil, err
	}
	output := func(program string, args ...string) (string, error) {
		e, err := process.Command(ctx, filepath.Base(program), program, args...).Run(process.AnyCPU)
		return strings.TrimSpace(string(e.Out)), err
	}
	if _, err := output("cc", "-O2", "-o", program, source, "-lcrypto"); err != nil {
		return "", nil, err
	}
	version, err := output(program, "version")
	if err != nil {
		return "", nil, err
	}
	way := func(operation, command string) *switchWay {
		return &switchWay{Operation: operation, With: "OpenSSL ASYNC_JOB", OpenSSL: true, measure: func(d time.Duration) (float64, error) {
			ns, err := output(program, command, strconv.FormatFloat(d.Seconds()*1e3, 'f', -1, 64))
			if err != nil {
				return 0, err
			}
			return strconv.ParseFloat(ns, 64)
		}}
	}
	return version, []*switchWay{way(resumePause, "resume"), way(startFinish, "start")}, nil
}
