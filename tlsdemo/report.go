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
	JSON   string   `name:"json" placeholder:"FILE" help:"With --merge: also write the result as JSON; - is standard output."`
	Output string   `default:"report.html" placeholder:"FILE" help:"Where to write the page; - is standard output (default ${default})."`
	Name   []string `sep:"none" placeholder:"NAME" help:"Name of a run, or of a machine, on the page. Give one for each file, in the same order (default: the file's name without .json)."`
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
	case c.JSON != "" && !c.Merge:
		return errors.New("--json: only a merge has a new result (--merge)")
	case c.JSON == "-" && c.Output == "-":
		return errors.New("--json and --output cannot both go to standard output")
	case c.Merge && len(c.Files) > load.MaxParts:
		return fmt.Errorf("%d files, at most %d can be merged", len(c.Files), load.MaxParts)
	case !c.Merge && len(c.Files) > report.MaxRuns:
		return fmt.Errorf("%d files, at most %d can be compared", len(c.Files), report.MaxRuns)
	case len(c.Name) > 0 && len(c.Name) != len(c.Files):
		return fmt.Errorf("--name: %d names for %d files", len(c.Name), len(c.Files))
	}
	if err := checkOutput("--json", c.JSON, c.Files); err != nil {
		return err
	}
	if err := checkOutput("--output", c.Output, c.Files); err != nil {
		return err
	}
	if c.JSON != "-" && sameFile(c.JSON, c.Output) {
		return fmt.Errorf("--json and --output are the same file: %s", c.Output)
	}
	return nil
}

// checkOutput returns an error if a flag's file cannot be written to, or is one of the
// inputs.
func checkOutput(flag, path string, inputs []string) error {
	if path == "-" {
		return nil
	}
	output, err := os.Stat(path)
	if err != nil {
		return nil // a new file; if it cannot be made, Run says so
	}
	if output.IsDir() {
		return fmt.Errorf("%s: %s is a directory", flag, path)
	}
	for _, name := range inputs {
		if sameFile(name, path) {
			return fmt.Errorf("%s: %s is one of the files to read", flag, path)
		}
	}
	return nil
}

// Run writes the page.
func (c *reportCmd) Run(con *console) error {
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
	err := writeFile(c.Output, con.out, func(w io.Writer) error { return report.Write(w, runs) })
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
