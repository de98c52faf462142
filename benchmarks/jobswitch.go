//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// jobSwitch is the part that measures what it costs to pause and resume a job.
// The program in the folder jobswitch does it, on the servers' core.
type jobSwitch struct {
	options
	Rounds   int           `default:"5" help:"Rounds; in each, every way is measured once."`
	Duration time.Duration `default:"300ms" help:"How long a way is measured in a round."`
}

// switchResult is what the program prints with -json.
type switchResult struct {
	OpenSSL string      `json:"openssl"`
	Skipped string      `json:"skipped"`
	Ways    []switchWay `json:"ways"`
}

type switchWay struct {
	Operation string    `json:"operation"`
	With      string    `json:"with"`
	OpenSSL   bool      `json:"is_openssl"`
	NS        []float64 `json:"ns"`
}

func (j *jobSwitch) Run(ctx context.Context) error {
	if j.Quick {
		j.Rounds, j.Duration = 1, 20*time.Millisecond
	}
	r, err := j.newReport("jobswitch")
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		program := filepath.Join(dir, "jobswitch")
		progress("building jobswitch")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/jobloop/jobloop/benchmarks/jobswitch")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build jobswitch (run this inside the module): %w\n%s", err, out)
		}
		progress("measuring pauses and resumes")
		res, err := j.run(ctx, program)
		if err != nil {
			return err
		}
		notes := []string{fmt.Sprintf("One thread, %d rounds of %v for each way in turn: median (least–greatest).", j.Rounds, j.Duration)}
		if res.Skipped != "" {
			notes = append(notes, fmt.Sprintf("OpenSSL's ASYNC_JOB: SKIPPED: %s.", res.Skipped))
		} else {
			notes = append(notes, res.OpenSSL+".")
		}
		r.Results = res
		plotSwitches(r, res)
		return r.finish(&j.options, notes, switchTable(res))
	})
}

// run has the program measure.
func (j *jobSwitch) run(ctx context.Context, program string) (*switchResult, error) {
	cmd := exec.CommandContext(ctx, program, "-json", "-rounds", fmt.Sprint(j.Rounds), "-time", j.Duration.String())
	cmd.SysProcAttr = endWithUs()
	var out bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := bench.OnCPU(j.ServerCPU, cmd.Start); err != nil {
		return nil, fmt.Errorf("start jobswitch: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("jobswitch: %w%s", err, stderr.text())
	}
	res := new(switchResult)
	if err := json.Unmarshal(out.Bytes(), res); err != nil {
		return nil, fmt.Errorf("jobswitch printed %q: %w", out.Bytes(), err)
	}
	return res, nil
}

// operations returns the operations that were measured, in order.
func (r *switchResult) operations() []string {
	var all []string
	for _, w := range r.Ways {
		if !slices.Contains(all, w.Operation) {
			all = append(all, w.Operation)
		}
	}
	return all
}

// switchTable has the ways of each operation together.
func switchTable(r *switchResult) *bench.Table {
	t := &bench.Table{Header: []string{"operation, with", "ns", "of OpenSSL's"}}
	for _, op := range r.operations() {
		var base []float64
		for _, w := range r.Ways {
			if w.Operation == op && w.OpenSSL {
				base = w.NS
			}
		}
		for _, w := range r.Ways {
			if w.Operation == op {
				t.Add(op+", "+w.With, bench.Spread(w.NS), bench.Ratio(w.NS, base))
			}
		}
	}
	return t
}
