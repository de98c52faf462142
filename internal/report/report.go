// Package report makes a page of load test results, for people: one HTML file
// that needs nothing else, neither scripts nor anything from outside, dark or
// light as its reader prefers, for large and small screens and for paper.
//
// [Write] makes it of one run, or compares several with the first; [Read] reads
// what "tlsdemo load --json" has written.
//
// In this file: the page as a whole.
package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// MaxRuns is the most runs a page compares. With more, neither its charts nor
// its tables could be read.
const MaxRuns = 12

// Run is a result and what to call it.
type Run struct {
	Name   string // anything; "run 1" and so on if it is empty
	Result *load.Result
}

// ErrRuns is wrapped by the errors for no run, more than MaxRuns, and one
// without a result.
var ErrRuns = errors.New("cannot be put on a page")

//go:embed page.html.tmpl
var pageText string

//go:embed style.css
var styleText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title   string
	Style   template.CSS
	Runs    []runView
	Compare *compareView // nil for one run
}

// Write writes the page of one run, or of several, which it compares with the
// first. The same runs give the same bytes. It may be called from anywhere; the
// results are only read.
func Write(w io.Writer, runs []Run) error {
	if len(runs) == 0 || len(runs) > MaxRuns {
		return fmt.Errorf("report: %d runs %w: 1 to %d can", len(runs), ErrRuns, MaxRuns)
	}
	p := page{Style: template.CSS(styleText + chart.CSS())}
	named := make([]Run, len(runs))
	for i, r := range runs {
		if r.Name == "" {
			r.Name = fmt.Sprintf("run %d", i+1)
		}
		if r.Result == nil {
			return fmt.Errorf("report: run %d (%q) %w: it has no result", i+1, r.Name, ErrRuns)
		}
		named[i] = r
		view, err := viewOf(i, r)
		if err != nil {
			return fmt.Errorf("report: run %d (%q): %w", i+1, r.Name, err)
		}
		p.Runs = append(p.Runs, view)
	}
	p.Title = "TLS handshakes: " + named[0].Name
	if len(named) > 1 {
		p.Title = fmt.Sprintf("TLS handshakes: %d runs compared", len(named))
		var err error
		if p.Compare, err = compare(named); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if err := pageTemplate.Execute(w, &p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
