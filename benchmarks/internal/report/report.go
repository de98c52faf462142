//go:build linux

// Package report is what a measurement leaves behind: tables with what a reader
// must know to weigh them, pictures, the raw results as JSON, and the figures in
// Go's benchmark format.
//
//   - columns.go makes rows of figures out of what was measured in rounds
//   - table.go writes tables, and figures in them
//   - plot.go draws pictures
//   - gobench.go writes Go's benchmark format
//   - output.go keeps all of it in files
package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/machine"
	"github.com/jobloop/jobloop/internal/version"
)

// Report is that of one scenario.
type Report struct {
	Scenario string    `json:"scenario"`
	Title    string    `json:"-"`
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Version  string    `json:"version"` // of this program
	Revision string    `json:"revision"`
	Load     string    `json:"load"` // average, before the run
	Started  time.Time `json:"started"`
	Results  any       `json:"results"` // what was measured, if anything was
	Notes    []string  `json:"notes"`   // what a reader must know to weigh the results

	cpu    string // alone, for Go's benchmark format: benchstat compares results of one CPU, also of two versions of Go
	tables []*Table
	plots  []plot
}

// New begins the report of a scenario.
func New(scenario, title, command string) (*Report, error) {
	r := &Report{
		Scenario: scenario,
		Title:    title,
		Command:  command,
		Version:  version.String(),
		Revision: process.Revision(),
		Started:  time.Now().Round(time.Second),
		cpu:      machine.CPU(),
	}
	var err error
	if r.Load, err = process.LoadAverage(); err != nil {
		return nil, err
	}
	r.Machine, err = process.Machine()
	return r, err
}

// Add adds tables.
func (r *Report) Add(tables ...*Table) { r.tables = append(r.tables, tables...) }

// Notef adds a note.
func (r *Report) Notef(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Note adds notes.
func (r *Report) Note(notes ...string) { r.Notes = append(r.Notes, notes...) }

// Markdown returns the report. Before its tables it shows the pictures whose names
// are in there: those whose files have been written.
func (r *Report) Markdown(there map[string]bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; revision %s; load before %s.\n", r.Machine, r.Started.Format(time.DateOnly), r.Revision, r.Load)
	fmt.Fprintf(&b, "`%s`\n", r.Command)
	for _, p := range r.plots {
		if there[p.name] {
			fmt.Fprintf(&b, "\n![%s](%s.svg)\n", p.alt, p.name)
		}
	}
	for _, t := range r.tables {
		b.WriteString("\n" + t.String())
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range r.Notes {
		b.WriteString("- " + n + "\n")
	}
	return b.String()
}
