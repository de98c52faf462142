// Jobswitch compares what it costs to pause and resume a job, and to start and
// finish one: with package jobs, with OpenSSL's ASYNC_JOB, with the bare
// coroutine of iter.Pull, and with two goroutines and channels.
//
//	go run ./benchmarks/jobswitch [-rounds N] [-time D] [-json]
//
// All are measured in turn, one round after another, so that a machine that
// grows slower or faster meanwhile does so for all of them. OpenSSL takes part
// if there is a C compiler and OpenSSL's headers (Debian: libssl-dev).
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/jobloop/jobloop/internal/machine"
)

// The operations that are measured.
const (
	resumePause = "resume+pause"
	startFinish = "start+finish"
)

// A contender is one way to do one operation.
type contender struct {
	operation string
	name      string
	openssl   bool
	measure   func(d time.Duration) (ns float64, err error)
}

// result is what -json prints.
type result struct {
	OpenSSL string `json:"openssl"` // its version
	Skipped string `json:"skipped"` // why OpenSSL is missing; empty if it is not
	Ways    []way  `json:"ways"`
}

// way is one contender's result.
type way struct {
	Operation string    `json:"operation"`
	With      string    `json:"with"`
	OpenSSL   bool      `json:"is_openssl"`
	NS        []float64 `json:"ns"` // that an operation took, a round each
}

func main() {
	rounds := flag.Int("rounds", 5, "number of rounds")
	each := flag.Duration("time", 300*time.Millisecond, "how long to measure each operation in a round")
	asJSON := flag.Bool("json", false, "print the raw results instead of a table")
	flag.Parse()
	if *rounds < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	res, err := run(*rounds, *each)
	switch {
	case err != nil:
	case *asJSON:
		err = json.NewEncoder(os.Stdout).Encode(res)
	default:
		res.print(os.Stdout, *rounds, *each)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "jobswitch:", err)
		os.Exit(1)
	}
}

func run(rounds int, each time.Duration) (*result, error) {
	dir, err := os.MkdirTemp("", "jobswitch")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	res := new(result)
	version, contenders, err := openSSL(dir)
	if err != nil {
		res.Skipped = err.Error()
	}
	res.OpenSSL = version
	contenders = append(contenders, goContenders()...)
	for _, c := range contenders {
		res.Ways = append(res.Ways, way{Operation: c.operation, With: c.name, OpenSSL: c.openssl})
	}
	for range rounds {
		for i, c := range contenders {
			ns, err := c.measure(each)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", c.operation, c.name, err)
			}
			res.Ways[i].NS = append(res.Ways[i].NS, ns)
		}
	}
	return res, nil
}

// print writes the table.
func (r *result) print(out io.Writer, rounds int, each time.Duration) {
	openssl := r.OpenSSL
	if r.Skipped != "" {
		openssl = "OpenSSL skipped: " + r.Skipped
	}
	fmt.Fprintf(out, "%s %s/%s; %s; %s; %d rounds of %v.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, openssl, cmp.Or(machine.CPU(), "CPU unknown"), rounds, each)
	fmt.Fprintln(out, "| operation | with | ns, median | min–max | of OpenSSL's |")
	fmt.Fprintln(out, "|---|---|---:|---:|---:|")
	for _, operation := range []string{resumePause, startFinish} {
		base := 0.0
		for _, w := range r.Ways {
			if w.Operation != operation {
				continue
			}
			m := median(w.NS)
			if w.OpenSSL {
				base = m
			}
			ratio := "–"
			if base > 0 {
				ratio = fmt.Sprintf("%.2f", m/base)
			}
			fmt.Fprintf(out, "| %s | %s | %.1f | %.1f–%.1f | %s |\n",
				operation, w.With, m, slices.Min(w.NS), slices.Max(w.NS), ratio)
		}
	}
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
