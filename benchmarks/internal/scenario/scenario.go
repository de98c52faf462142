//go:build linux

// Package scenario has what is measured, a file each. To add a scenario, write a
// file that registers it.
//
//   - scenario.go is what a scenario is, and how one is run
//   - flags.go checks flags, and has those of every scenario
//   - run.go is what a scenario finds prepared
//   - rounds.go is the order of measuring, and the rows of servers
//   - warnings.go says which figures are not what they seem
//   - all.go runs one scenario after another
package scenario

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// Scenario measures something. Its fields are its flags.
type Scenario interface {
	// quick shortens what is measured.
	quick()

	// measure fills in the report of the run. If it sets the report's Results, the
	// report is kept even if measure returns an error: what was measured is worth a
	// report, although it is not all that was asked for.
	measure(context.Context, *run) error
}

// Entry is a scenario as the command line knows it.
type Entry struct {
	Name, Title, Help string
	New               func() Scenario
	Usual             bool     // it runs when no scenario is named
	Loads             bool     // "tlsdemo load" is its client
	NoRounds          bool     // it has no --rounds
	Quick             []string // more flags that make it short when all scenarios run
}

var entries = make(map[string]Entry)

// register is called by the file of each scenario.
func register(e Entry) {
	if _, ok := entries[e.Name]; ok {
		panic("two scenarios " + e.Name)
	}
	entries[e.Name] = e
}

// Entries returns all scenarios, sorted by name.
func Entries() (all []Entry) {
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, entries[name])
	}
	return all
}

// ErrSkipped means that a scenario cannot run on this machine. The text of the
// error says why.
var ErrSkipped = errors.New("SKIPPED")

// Command is a scenario on the command line.
type Command struct {
	Options
	Scenario `embed:""`

	entry Entry
}

// Command returns the command that runs the scenario.
func (e Entry) Command() *Command { return &Command{Scenario: e.New(), entry: e} }

// Run runs the scenario, prints its report, and keeps it as the flags say.
func (c *Command) Run(ctx context.Context) error {
	if err := c.canKeep(); err != nil {
		return err
	}
	rep, err := c.report(ctx, os.Args[1:])
	if rep == nil {
		return err
	}
	kept := c.keep(&report.Outcome{Reports: []*report.Report{rep}}, rep)
	_, printed := fmt.Print(rep.Markdown(nil))
	return errors.Join(kept, printed, err)
}

// report runs the scenario. It returns the report, if there is something to
// report. args are the command line that the report shows.
func (c *Command) report(ctx context.Context, args []string) (*report.Report, error) {
	if err := checkFlags(c.Scenario); err != nil { // before quick, which may take the first of a list
		return nil, err
	}
	if c.Quick {
		c.quick()
		if err := checkFlags(c.Scenario); err != nil {
			return nil, err
		}
	}
	notes, err := process.ChooseCores(&c.ServerCPU, &c.ClientCPU)
	if err != nil {
		return nil, err
	}
	rep, err := report.New(c.entry.Name, c.entry.Title, "go run -C benchmarks . "+strings.Join(measuringArgs(args), " "))
	if err != nil {
		return nil, err
	}
	rep.Note(notes...)
	if c.Tlsdemo != "" {
		// An older one does not tell its version.
		what, _ := exec.CommandContext(ctx, c.Tlsdemo, "--version").Output()
		rep.Notef("The tlsdemo that was measured is another build: %s.", cmp.Or(string(bytes.TrimSpace(what)), "version unknown"))
	}
	dir, err := os.MkdirTemp("", "jobloop-benchmarks-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &run{Options: &c.Options, Report: rep, dir: dir, keys: make(map[string]*peer.Keys), same: make(map[client.Kind]*client.Agreement)}
	if c.entry.Loads {
		// Always this checkout's: another build that is measured (--tlsdemo) has
		// the same client.
		program, err := process.BuildTlsdemo(ctx, dir)
		if err != nil {
			return nil, err
		}
		r.client = client.Load{Program: program, CPU: r.ClientCPU}
	}
	if err = c.measure(ctx, r); rep.Results == nil {
		rep = nil
	}
	return rep, err
}
