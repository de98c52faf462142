//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// This file is what a run leaves behind: the reports of its parts, and what is
// missing.

// outcome is what a whole run has come to so far.
type outcome struct {
	Reports []*report `json:"reports"`
	Missing []missing `json:"missing"` // parts, or some of their results
}

// missing is a part that was skipped or has failed. One that has failed may have
// left a report all the same.
type missing struct {
	Part    string `json:"part"`
	Skipped bool   `json:"skipped"`
	Why     string `json:"why"`
}

func (m missing) String() string {
	if m.Skipped {
		return m.Part + ": " + m.Why
	}
	return m.Part + ": FAILED: " + m.Why
}

// run runs a part, and prints and takes its report. That the part fails is
// noted.
func (out *outcome) run(ctx context.Context, name string, p part, command string) {
	progress("== %s", name)
	p.shared().collect = func(r *report) error {
		r.Command = command
		out.Reports = append(out.Reports, r)
		fmt.Printf("\n## %s\n\n", partTitle(name))
		return r.markdown(os.Stdout, nil)
	}
	if err := p.Run(ctx); err != nil {
		m := missing{Part: name, Skipped: errors.Is(err, errSkipped), Why: err.Error()}
		out.Missing = append(out.Missing, m)
		progress("%v", m)
	}
}

// err is nil if no part has failed.
func (out *outcome) err(ctx context.Context) error {
	var errs []error
	for _, m := range out.Missing {
		if !m.Skipped {
			errs = append(errs, errors.New(m.String()))
		}
	}
	if ctx.Err() != nil {
		errs = append(errs, fmt.Errorf("the parts after that were not run: %w", context.Cause(ctx)))
	}
	return errors.Join(errs...)
}

// keep writes files as the options say: raw is for --json.
func (out *outcome) keep(o *options, raw any) error {
	var errs []error
	if o.JSON != "" {
		b, err := indented(raw)
		if err == nil {
			err = os.WriteFile(o.JSON, b, 0o644)
		}
		errs = append(errs, err)
	}
	if o.Out != "" {
		errs = append(errs, out.write(o.Out))
	}
	return errors.Join(errs...)
}

// write leaves the pictures, results.md and results.json in a directory. A
// picture that cannot be drawn keeps nothing else from being written.
func (out *outcome) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	there := make(map[string]bool)
	for _, r := range out.Reports {
		for _, p := range r.plots {
			svg, err := p.draw()
			if err == nil {
				err = writeFile(filepath.Join(dir, p.name+".svg"), svg)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("picture %s: %w", p.name, err))
				continue
			}
			there[p.name] = true
		}
	}
	var md bytes.Buffer
	err := out.markdown(&md, there)
	if err == nil {
		err = writeFile(filepath.Join(dir, "results.md"), md.Bytes())
	}
	errs = append(errs, err)
	b, err := indented(out)
	if err == nil {
		err = writeFile(filepath.Join(dir, "results.json"), b)
	}
	return errors.Join(append(errs, err)...)
}

// markdown writes all reports, each under its heading, and what is missing.
func (out *outcome) markdown(b *bytes.Buffer, there map[string]bool) error {
	b.WriteString("# Results\n")
	for _, r := range out.Reports {
		fmt.Fprintf(b, "\n## %s\n\n", partTitle(r.Part))
		if err := r.markdown(b, there); err != nil {
			return err
		}
	}
	if len(out.Missing) > 0 {
		b.WriteString("\n## Missing\n\n")
	}
	for _, m := range out.Missing {
		fmt.Fprintf(b, "- %s\n", strings.ReplaceAll(m.String(), "\n", "\n  "))
	}
	return nil
}

// writeFile replaces a file at once: a run that is interrupted leaves what was
// there before, or all of what is new.
func writeFile(file string, content []byte) error {
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
