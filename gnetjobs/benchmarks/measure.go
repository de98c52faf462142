//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// measure is the command: its flags, the parts, and the report they make.
type measure struct {
	Parts       []string      `arg:"" optional:"" name:"part" enum:"throughput,messages,handshakes,idle" help:"What to measure, of ${enum}; all, if none is named."`
	Servers     []string      `enum:"gnetjobs,gnetjobs-job,gnetjobs-multibuffer,goroutines,gnet" default:"gnetjobs,gnetjobs-job,gnetjobs-multibuffer,goroutines,gnet" help:"Of which servers, of ${enum}. Not every server has a place in every part."`
	Rounds      int           `default:"5" help:"Rounds; in each, every server is measured once."`
	Duration    time.Duration `default:"5s" help:"How long a server is loaded and measured in a round."`
	Connections int           `default:"4000" help:"Idle connections."`
	Quick       bool          `help:"A short run, to see that everything works. Its figures mean little."`
	Out         string        `placeholder:"DIR" type:"path" help:"Write results.md and results.json into this directory, which is made if it is not there."`
	ServerCPU   int           `default:"-2" placeholder:"CORE" help:"The core servers run on, -1 for any (default: 0; any, if that is not there)."`
	ClientCPU   int           `default:"-2" placeholder:"CORE" help:"The core clients run on, -1 for any (default: 1; any, if that is not there)."`
}

// part is what one table is of.
type part struct {
	name, title string
	run         func(m *measure, ctx context.Context, dir string) (*result, error)
}

var parts = []part{
	{"throughput", "Echo throughput", (*measure).throughput},
	{"messages", "Small messages", (*measure).messages},
	{"handshakes", "Full handshakes", (*measure).handshakes},
	{"idle", "Idle connections", (*measure).idle},
}

// result is what a part leaves behind.
type result struct {
	Part    string   `json:"part"`
	Results any      `json:"results"`
	Notes   []string `json:"notes"` // what a reader must know to weigh them
	Failed  string   `json:"failed,omitempty"`

	title string
	table *bench.Table
}

// report is what a run leaves behind.
type report struct {
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Revision string    `json:"revision"`
	Load     string    `json:"load"` // average, before the run
	Started  time.Time `json:"started"`
	Notes    []string  `json:"notes"`
	Results  []*result `json:"parts"`
}

// errNoServer: a part has nothing to do.
var errNoServer = errors.New("none of the servers named is measured in this part")

func (m *measure) Run(ctx context.Context) error { return m.run(ctx, os.Stdout) }

func (m *measure) run(ctx context.Context, stdout io.Writer) error {
	if m.Quick {
		m.Rounds, m.Duration, m.Connections = 1, 200*time.Millisecond, 200
	}
	if err := m.check(); err != nil {
		return err
	}
	notes, err := bench.ChooseCores(&m.ServerCPU, &m.ClientCPU)
	if err != nil {
		return err
	}
	rep, err := newReport(notes)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gnetjobs-benchmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := rep.head(stdout); err != nil {
		return err
	}
	var failed []error
	for _, p := range parts {
		if ctx.Err() != nil || len(m.Parts) > 0 && !slices.Contains(m.Parts, p.name) {
			continue
		}
		progress("== %s", p.name)
		res, err := p.run(m, ctx, dir)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		if res == nil {
			continue
		}
		res.Part, res.title = p.name, p.title
		if err != nil {
			res.Failed = err.Error()
		}
		rep.Results = append(rep.Results, res)
		failed = append(failed, res.write(stdout))
	}
	if m.Out != "" {
		failed = append(failed, rep.keep(m.Out))
	}
	return errors.Join(failed...)
}

// check finds what makes no sense before anything is started.
func (m *measure) check() error {
	switch {
	case m.Rounds < 1:
		return fmt.Errorf("--rounds: %d, at least 1 is needed", m.Rounds)
	case m.Duration <= 0:
		return fmt.Errorf("--duration: %v is no time to measure", m.Duration)
	case m.Connections < 1:
		return fmt.Errorf("--connections: %d, at least 1 is needed", m.Connections)
	}
	return nil
}

// warmup is how long a server is loaded before it is measured.
func (m *measure) warmup() time.Duration { return min(m.Duration/2, time.Second) }

// servers returns those of these that are to be measured.
func (m *measure) servers(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(m.Servers, name) })
}

func (m *measure) watched(s *server) watched {
	return watched{PID: s.cmd.Process.Pid, Core: max(m.ServerCPU, bench.AnyCPU)}
}

// others says how much of the servers' core others have taken, at most. The
// kernel counts that in hundredths of a second, which is too coarse for short
// runs.
func (m *measure) others(all []usage) []string {
	if m.ServerCPU < 0 || m.Duration < time.Second || len(all) == 0 {
		return nil
	}
	most := 0.0
	for _, u := range all {
		most = math.Max(most, u.percentOf(u.Other))
	}
	return []string{fmt.Sprintf("Of the servers' core, others have taken %s %% in the round in which they took most.", bench.Figure(most))}
}

func newReport(notes []string) (*report, error) {
	r := &report{
		Command:  strings.TrimSpace("go run . " + strings.Join(os.Args[1:], " ")),
		Notes:    notes,
		Revision: bench.Revision(),
		Started:  time.Now().Round(time.Second),
	}
	var err error
	if r.Load, err = bench.LoadAverage(); err != nil {
		return nil, err
	}
	on, err := bench.Machine()
	r.Machine = on + ", gnet " + gnetVersion()
	return r, err
}

func gnetVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/panjf2000/gnet/v2" {
				return d.Version
			}
		}
	}
	return "unknown"
}

// head writes what comes before the tables.
func (r *report) head(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; revision %s; load before %s.\n", r.Machine, r.Started.Format(time.DateOnly), r.Revision, r.Load)
	fmt.Fprintf(&b, "`%s`\n", r.Command)
	bullets(&b, r.Notes)
	_, err := io.WriteString(w, b.String())
	return err
}

// write writes a part.
func (r *result) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n", r.title)
	if err := r.table.Write(&b); err != nil {
		return err
	}
	notes := r.Notes
	if r.Failed != "" {
		notes = append(slices.Clip(notes), "FAILED: "+strings.ReplaceAll(r.Failed, "\n", "; "))
	}
	bullets(&b, notes)
	_, err := io.WriteString(w, b.String())
	return err
}

func bullets(b *strings.Builder, notes []string) {
	if len(notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range notes {
		b.WriteString("- " + n + "\n")
	}
}

// keep writes the report into files.
func (r *report) keep(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	errs := []error{r.head(&b)}
	for _, res := range r.Results {
		errs = append(errs, res.write(&b))
	}
	errs = append(errs, os.WriteFile(filepath.Join(dir, "results.md"), []byte(b.String()), 0o644))
	raw, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "results.json"), append(raw, '\n'), 0o644)
	}
	return errors.Join(append(errs, err)...)
}
