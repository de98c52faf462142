//go:build linux

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Outcome is the outcome of a run so far: the reports of its scenarios, and what is
// missing.
type Outcome struct {
	Reports []*Report `json:"reports"`
	Missing []Missing `json:"missing"` // scenarios, or some of their results
}

// Missing is a scenario that was skipped or has failed. One that has failed may
// have left a report all the same.
type Missing struct {
	Scenario string `json:"scenario"`
	Skipped  bool   `json:"skipped"`
	Why      string `json:"why"`
}

func (m Missing) String() string {
	if m.Skipped {
		return m.Scenario + ": " + m.Why
	}
	return m.Scenario + ": FAILED: " + m.Why
}

// Err is nil if no scenario has failed.
func (out *Outcome) Err() error {
	var errs []error
	for _, m := range out.Missing {
		if !m.Skipped {
			errs = append(errs, errors.New(m.String()))
		}
	}
	return errors.Join(errs...)
}

// Write leaves the pictures, results.md, results.json and results.txt, which is
// in Go's benchmark format, in a directory. If a picture cannot be drawn, the rest
// is still written.
func (out *Outcome) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	write := func(name string, content []byte, err error) {
		if err == nil {
			err = replaceFile(filepath.Join(dir, name), content)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	there := make(map[string]bool)
	for _, r := range out.Reports {
		for _, p := range r.plots {
			before := len(errs)
			svg, err := p.draw()
			write(p.name+".svg", svg, err)
			there[p.name] = len(errs) == before
		}
	}
	write("results.md", out.markdown(there), nil)
	write("results.txt", out.goBench(), nil)
	b, err := indented(out)
	write("results.json", b, err)
	return errors.Join(errs...)
}

// WriteJSON leaves a value in a file.
func WriteJSON(file string, value any) error {
	b, err := indented(value)
	if err != nil {
		return err
	}
	return replaceFile(file, b)
}

// markdown returns all reports, each under its heading, and what is missing.
func (out *Outcome) markdown(there map[string]bool) []byte {
	var b bytes.Buffer
	b.WriteString("# Results\n")
	for _, r := range out.Reports {
		fmt.Fprintf(&b, "\n## %s\n\n%s", r.Title, r.Markdown(there))
	}
	if len(out.Missing) > 0 {
		b.WriteString("\n## Missing\n\n")
	}
	for _, m := range out.Missing {
		fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(m.String(), "\n", "\n  "))
	}
	return b.Bytes()
}

// replaceFile replaces a file at once. A run that is interrupted leaves what was
// there before, or all of what is new.
func replaceFile(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func indented(value any) ([]byte, error) {
	b, err := json.MarshalIndent(value, "", "\t")
	return append(b, '\n'), err
}
