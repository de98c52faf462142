// Package report makes an HTML page of load test results. The page is a single file. It
// has no scripts and loads nothing. It is dark or light as the reader prefers, and works
// on large and small screens and on paper.
//
// [Write] makes the page of one run, or of several, which it compares with the first.
// [Read] reads the results that "tlsdemo load --json" has written.
//
// This file makes the page as a whole.
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

// MaxRuns is the maximum number of runs that a page compares. With more, its charts and
// tables would be unreadable.
const MaxRuns = 12

// Run is a result and its name on the page.
type Run struct {
	Name   string // anything; "run 1" and so on if it is empty
	Result *load.Result
}

// ErrRuns is wrapped by Write's errors about the runs: there is none, there are more than
// MaxRuns, or one has no result.
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

// Write writes the page of one run, or of several, which it compares with the first. The
// same runs give the same bytes. Write only reads the results. Any goroutine may call it.
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
