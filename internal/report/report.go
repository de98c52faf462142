// Package report makes an HTML page of load test results. The page is a single file and
// loads nothing. It is dark or light as the reader prefers, and works on large and small
// screens and on paper. A script in it shows the values of charts where the reader points;
// without the script, they are in tables.
//
// [Write] makes the page of one run, or of several, which it compares with the first.
// [Read] reads the results that "tlsdemo load --json" has written.
//
// This file makes the page as a whole.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
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

//go:embed hover.js
var scriptText string

// policy lets a browser run this script and no other, and load nothing.
var policy = func() string {
	sum := sha256.Sum256([]byte(scriptText))
	return "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}()

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title   string
	Policy  string
	Style   template.CSS
	Script  template.JS
	Runs    []runView
	Compare *compareView // nil for one run
	Weak    string       // what the mark of weak percentiles means; empty if none is marked
}

// explain sets the explanation of weak percentiles, if the page shows one.
func (p *page) explain() {
	shown := p.Compare != nil && p.Compare.hasWeak()
	for i := range p.Runs {
		shown = shown || p.Runs[i].hasWeak()
	}
	if shown {
		p.Weak = weakNote
	}
}

// Write writes the page of one run, or of several, which it compares with the first. The
// same runs give the same bytes. Write only reads the results. Any goroutine may call it.
func Write(w io.Writer, runs []Run) error {
	if len(runs) == 0 || len(runs) > MaxRuns {
		return fmt.Errorf("report: %d runs %w: 1 to %d can", len(runs), ErrRuns, MaxRuns)
	}
	p := page{Policy: policy, Style: template.CSS(styleText + chart.CSS()), Script: template.JS(scriptText)}
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
	p.explain()
	if err := pageTemplate.Execute(w, &p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
