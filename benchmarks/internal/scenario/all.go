//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// All runs one scenario after another, in the order of their names.
type All struct {
	Options
	Install   bool     `help:"First fetch with apt-get what is missing (nginx, haproxy, wrk, openssl, a C compiler and OpenSSL's headers). Needs root."`
	Rounds    int      `placeholder:"N" min:"0" help:"Rounds of every scenario, instead of its own default."`
	Scenarios []string `enum:"${scenarios}" default:"${usual}" help:"What to run: any of ${enum}."`
}

func (a *All) Run(ctx context.Context) error {
	if err := checkFlags(a); err != nil {
		return err
	}
	if err := a.canKeep(); err != nil {
		return err
	}
	if a.Install {
		if err := peer.Install(ctx); err != nil {
			return err
		}
	}
	out := new(report.Outcome)
	var kept, printed error
	for _, e := range Entries() {
		if !slices.Contains(a.Scenarios, e.Name) {
			continue
		}
		rep, err := runOne(ctx, out, e, a.args(e))
		if err != nil {
			return err
		}
		// What has been measured is kept before the next scenario begins.
		if kept = a.keep(out, out); kept != nil {
			process.Progress("%v", kept)
		}
		if rep != nil && printed == nil { // without a reader, the rest is still measured and kept
			_, printed = fmt.Printf("\n## %s\n\n%s", rep.Title, rep.Markdown(nil))
		}
		if ctx.Err() != nil {
			return errors.Join(out.Err(), kept, printed, fmt.Errorf("the scenarios after that were not run: %w", context.Cause(ctx)))
		}
	}
	return errors.Join(out.Err(), kept, printed)
}

// args are the flags that a scenario is given.
func (a *All) args(e Entry) []string {
	var args []string
	if a.Quick {
		args = append([]string{"--quick"}, e.Quick...)
	}
	if a.Rounds > 0 && !e.NoRounds {
		args = append(args, "--rounds", strconv.Itoa(a.Rounds))
	}
	if a.ServerCPU != process.DefaultCPU {
		args = append(args, fmt.Sprintf("--server-cpu=%d", a.ServerCPU))
	}
	if a.ClientCPU != process.DefaultCPU {
		args = append(args, fmt.Sprintf("--client-cpu=%d", a.ClientCPU))
	}
	if a.Tlsdemo != "" {
		args = append(args, "--tlsdemo", a.Tlsdemo)
	}
	return args
}

// parse returns the scenario as a command line of its own would have it.
func (e Entry) parse(args []string) (*Command, error) {
	c := e.Command()
	k, err := kong.New(c, kong.Vars(Vars()))
	if err == nil {
		_, err = k.Parse(args)
	}
	return c, err
}

// runOne runs a scenario and adds its report to out. It returns the report, if there is
// one. If the scenario fails, that is noted in out, and is no error.
func runOne(ctx context.Context, out *report.Outcome, e Entry, args []string) (*report.Report, error) {
	c, err := e.parse(args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	process.Progress("== %s", e.Name)
	rep, err := c.report(ctx, append([]string{e.Name}, args...))
	if rep != nil {
		out.Reports = append(out.Reports, rep)
	}
	if err != nil {
		m := report.Missing{Scenario: e.Name, Skipped: errors.Is(err, ErrSkipped), Why: err.Error()}
		out.Missing = append(out.Missing, m)
		process.Progress("%v", m)
	}
	return rep, nil
}
