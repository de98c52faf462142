package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/report"
)

// reportCmd is "tlsdemo report".
type reportCmd struct {
	Files  []string `arg:"" type:"existingfile" placeholder:"FILE" help:"Result of tlsdemo load --json. The others are compared with the first."`
	Merge  bool     `help:"Make one result of those of several machines that loaded the same servers together, as if one had done it all. Prints the result as load does."`
	Output string   `default:"report.html" placeholder:"FILE" help:"Where to write the page; - is standard output (default ${default})."`
	Name   []string `sep:"none" placeholder:"NAME" help:"Name of a run, or of a machine, on the page. Give one for each file, in the same order (default: the file's name without .json)."`

	dataFiles `group:"merged"`
	Limits    limits `embed:"" group:"mergedLimits"`
}

// Help is the second paragraph of "tlsdemo report --help".
func (*reportCmd) Help() string {
	return `Makes one HTML page from the result of one run, or of several, which it compares with the first. The page is a single file that needs no others.

Examples:

    tlsdemo report before.json after.json --output comparison.html
    tlsdemo report a.json b.json --name "1 loop" --name "2 loops" --output - > page.html
    tlsdemo report --merge machine-*.json --json all.json`
}

// Validate finds flags that make no sense before anything is read.
func (c *reportCmd) Validate() error {
	switch {
	case c.Output == "":
		return errors.New("--output: a file name is needed")
	case !c.Merge && c.dataFiles != dataFiles{}:
		return errors.New("--json, --hgrm and --csv: only a merge has a new result (--merge)")
	case !c.Merge && c.Limits != limits{}:
		return errors.New("thresholds are for a merged result (--merge); load has them for its own")
	case c.Merge && len(c.Files) > load.MaxParts:
		return fmt.Errorf("%d files, at most %d can be merged", len(c.Files), load.MaxParts)
	case !c.Merge && len(c.Files) > report.MaxRuns:
		return fmt.Errorf("%d files, at most %d can be compared", len(c.Files), report.MaxRuns)
	case len(c.Name) > 0 && len(c.Name) != len(c.Files):
		return fmt.Errorf("--name: %d names for %d files", len(c.Name), len(c.Files))
	}
	var inputs []inputFile
	for _, name := range c.Files {
		inputs = append(inputs, inputFile{"", name})
	}
	if err := checkOutputs(c.outputs(nil, nil), inputs...); err != nil {
		return err
	}
	return c.Limits.validate(false)
}

// outputs returns the page, and the other forms of a merged result.
func (c *reportCmd) outputs(merged *load.Result, runs []report.Run) []form {
	return append(c.dataFiles.outputs(merged), form{"output", c.Output, func(w io.Writer) error { return report.Write(w, runs) }})
}

// Run writes the page.
func (c *reportCmd) Run(con *console) error {
	if err := checkAllWritable(c.outputs(nil, nil), con.out); err != nil {
		return err
	}
	runs := make([]report.Run, len(c.Files))
	names := c.names()
	for i, name := range c.Files {
		run, err := readRun(name)
		if err != nil {
			return err
		}
		run.Name = names[i]
		runs[i] = run
	}
	if c.Merge {
		return c.merge(con, runs)
	}
	err := writeOutputs(con, c.outputs(nil, runs), func(io.Writer) {})
	if err == nil && c.Output != "-" {
		fmt.Fprintf(con.out, "wrote %s\n", c.Output)
	}
	return err
}

// readRun reads the result in a file.
func readRun(name string) (report.Run, error) {
	f, err := os.Open(name)
	if err != nil {
		return report.Run{}, err
	}
	defer f.Close()
	result, err := report.Read(f)
	if err != nil {
		return report.Run{}, fmt.Errorf("%s: %w", name, err)
	}
	return report.Run{Result: result}, nil
}

// names returns the names of the runs: those given by --name, else the names of the
// files. Files with the same name get their directory's name too.
func (c *reportCmd) names() []string {
	if len(c.Name) > 0 {
		return c.Name
	}
	base := func(path string) string { return strings.TrimSuffix(filepath.Base(path), ".json") }
	seen := make(map[string]int)
	for _, path := range c.Files {
		seen[base(path)]++
	}
	names := make([]string, len(c.Files))
	for i, path := range c.Files {
		if names[i] = base(path); seen[names[i]] > 1 {
			names[i] = filepath.Join(filepath.Base(filepath.Dir(path)), names[i])
		}
	}
	return names
}
