//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file is what a part leaves behind: its report, on standard output and in
// files.

// options are those of every part.
type options struct {
	Quick     bool   `help:"A short run, to see that everything works. Its figures mean little."`
	JSON      string `name:"json" placeholder:"FILE" type:"path" help:"Keep the raw results."`
	Out       string `placeholder:"DIR" type:"path" help:"Write results.md, results.json and pictures (SVG) into this directory, which is made if it is not there."`
	ServerCPU int    `default:"-2" placeholder:"CORE" help:"The core servers run on, -1 for any (default: 0; any, if that is not there)."`
	ClientCPU int    `default:"-2" placeholder:"CORE" help:"The core clients run on, -1 for any (default: 1; any, if that is not there)."`
	Tlsdemo   string `placeholder:"PROGRAM" type:"path" help:"A tlsdemo to measure instead of this checkout's."`

	// collect takes the report of a part that is run among others. Without it,
	// the report is printed and kept as the fields above say.
	collect func(*report) error `kong:"-"`
}

// errSkipped is of a part that cannot run on this machine. It says why.
var errSkipped = errors.New("SKIPPED")

// report is what a run leaves behind, as JSON.
type report struct {
	Part     string    `json:"part"`
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Revision string    `json:"revision"`
	Load     string    `json:"load"` // average, before the run
	Started  time.Time `json:"started"`
	Results  any       `json:"results"`
	Notes    []string  `json:"notes"` // what a reader must know to weigh the results

	tables []*bench.Table
	plots  []plot
}

// plot is a picture of a report. It is drawn only if it is kept.
type plot struct {
	name string // of its file, without .svg
	alt  string // what it shows, for who does not see it
	draw func() ([]byte, error)
}

// newReport begins the report of a part. It chooses the cores, too.
func (o *options) newReport(part string) (*report, error) {
	notes, err := bench.ChooseCores(&o.ServerCPU, &o.ClientCPU)
	if err != nil {
		return nil, err
	}
	r := &report{
		Part:     part,
		Command:  "go run ./benchmarks " + strings.Join(measuringArgs(os.Args[1:]), " "),
		Notes:    notes,
		Revision: bench.Revision(),
		Started:  time.Now().Round(time.Second),
	}
	if r.Load, err = bench.LoadAverage(); err != nil {
		return nil, err
	}
	if r.Machine, err = bench.Machine(); err != nil {
		return nil, err
	}
	return r, nil
}

// measuringArgs returns a command line without the flags that say where to keep
// the results: they do not tell a reader what was measured.
func measuringArgs(args []string) (kept []string) {
	for i := 0; i < len(args); i++ {
		switch flag, _, joined := strings.Cut(args[i], "="); {
		case flag != "--json" && flag != "--out":
			kept = append(kept, args[i])
		case !joined:
			i++ // the value
		}
	}
	return kept
}

// addPlot adds a picture. The name is that of a file, and starts with the
// part's, so that the pictures of a whole run can lie beside each other.
func (r *report) addPlot(name, alt string, draw func() ([]byte, error)) {
	r.plots = append(r.plots, plot{name, alt, draw})
}

// finish prints the tables and what a reader must know to weigh them, and keeps
// the results where the options say.
func (r *report) finish(o *options, notes []string, tables ...*bench.Table) error {
	r.Notes, r.tables = append(r.Notes, notes...), tables
	if o.collect != nil {
		return o.collect(r)
	}
	return errors.Join((&outcome{Reports: []*report{r}}).keep(o, r), r.markdown(os.Stdout, nil))
}

// markdown writes the report. Those of its pictures whose files are there, by
// name, are shown before its tables.
func (r *report) markdown(w io.Writer, there map[string]bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; revision %s; load before %s.\n", r.Machine, r.Started.Format(time.DateOnly), r.Revision, r.Load)
	fmt.Fprintf(&b, "`%s`\n", r.Command)
	for _, p := range r.plots {
		if there[p.name] {
			fmt.Fprintf(&b, "\n![%s](%s.svg)\n", p.alt, p.name)
		}
	}
	for _, t := range r.tables {
		b.WriteByte('\n')
		if err := t.Write(&b); err != nil {
			return err
		}
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range r.Notes {
		b.WriteString("- " + n + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// indented is a value as the JSON that is kept.
func indented(value any) ([]byte, error) {
	b, err := json.MarshalIndent(value, "", "\t")
	return append(b, '\n'), err
}

// progress tells whoever waits what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// inTempDir gives f a directory that is removed afterwards.
func inTempDir(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "jobloop-benchmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(dir)
}
