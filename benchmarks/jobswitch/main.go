// Jobswitch compares what it costs to pause and resume a job, and to start and
// finish one: with package jobs, with OpenSSL's ASYNC_JOB, with the bare
// coroutine of iter.Pull, and with two goroutines and channels.
//
//	go run ./benchmarks/jobswitch
//
// All are measured in turn, one round after another, so that a machine that
// grows slower or faster meanwhile does so for all of them. OpenSSL takes part
// if there is a C compiler and OpenSSL's headers (Debian: libssl-dev).
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
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

	ns []float64 // a round each
}

func main() {
	rounds := flag.Int("rounds", 5, "number of rounds")
	each := flag.Duration("time", 300*time.Millisecond, "how long to measure each operation in a round")
	flag.Parse()
	if *rounds < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, *rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "jobswitch:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, rounds int, each time.Duration) error {
	dir, err := os.MkdirTemp("", "jobswitch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var contenders []*contender
	version, others, err := openSSL(dir)
	if err != nil {
		version = "OpenSSL skipped: " + err.Error()
	}
	contenders = append(contenders, others...)
	contenders = append(contenders, goContenders()...)
	for range rounds {
		for _, c := range contenders {
			ns, err := c.measure(each)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", c.operation, c.name, err)
			}
			c.ns = append(c.ns, ns)
		}
	}

	fmt.Fprintf(out, "%s %s/%s; %s; %s; %d rounds of %v.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, version, cpu(), rounds, each)
	fmt.Fprintln(out, "| operation | with | ns, median | min–max | of OpenSSL's |")
	fmt.Fprintln(out, "|---|---|---:|---:|---:|")
	for _, operation := range []string{resumePause, startFinish} {
		base := 0.0
		for _, c := range contenders {
			if c.operation != operation {
				continue
			}
			m := median(c.ns)
			if c.openssl {
				base = m
			}
			ratio := "–"
			if base > 0 {
				ratio = fmt.Sprintf("%.2f", m/base)
			}
			fmt.Fprintf(out, "| %s | %s | %.1f | %.1f–%.1f | %s |\n",
				operation, c.name, m, slices.Min(c.ns), slices.Max(c.ns), ratio)
		}
	}
	return nil
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// cpu returns the name of the processor where Linux tells it.
func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU unknown"
}
