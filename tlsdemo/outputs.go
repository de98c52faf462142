package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jobloop/jobloop/internal/load"
)

// This file writes results to files and to standard output.

// dataFiles are the files with a result that programs read.
type dataFiles struct {
	JSON string `name:"json" placeholder:"FILE" help:"Write the result as JSON. - writes it to standard output instead of the text."`
	HGRM string `name:"hgrm" placeholder:"FILE" help:"Write the distribution of latency in milliseconds as HdrHistogram's text, which its plotter reads."`
	CSV  string `name:"csv" placeholder:"FILE" help:"Write the distribution of latency as comma-separated values."`
}

// form is a form of a result, and the file that a flag names for it.
type form struct {
	flag  string // without --
	path  string // empty: not wanted; -: standard output
	write func(io.Writer) error
}

// outputs returns the forms of a result. res may be nil until they are written.
func (f *dataFiles) outputs(res *load.Result) []form {
	return []form{
		{"json", f.JSON, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "\t")
			return enc.Encode(res)
		}},
		{"hgrm", f.HGRM, func(w io.Writer) error { return res.WriteHGRM(w) }},
		{"csv", f.CSV, func(w io.Writer) error { return res.WriteCSV(w) }},
	}
}

// inputFile is a file to be read, and the flag that names it; "" for arguments.
type inputFile struct{ flag, path string }

// checkOutputs finds outputs that would overwrite another output or an input, and more
// than one for standard output.
func checkOutputs(outputs []form, inputs ...inputFile) error {
	others, stdout := inputs, ""
	for _, o := range outputs {
		switch o.path {
		case "":
			continue
		case "-":
			if stdout != "" {
				return fmt.Errorf("--%s and --%s cannot both go to standard output", stdout, o.flag)
			}
			stdout = o.flag
			continue
		}
		if info, err := os.Stat(o.path); err == nil && info.IsDir() {
			return fmt.Errorf("--%s: %s is a directory", o.flag, o.path)
		}
		for _, other := range others {
			switch {
			case other.path == "" || !sameFile(o.path, other.path):
			case other.flag == "":
				return fmt.Errorf("--%s: %s is one of the files to read: choose another", o.flag, o.path)
			default:
				return fmt.Errorf("--%s: %s is the file of %s: choose another", o.flag, o.path, other.flag)
			}
		}
		others = append(others, inputFile{"--" + o.flag, o.path})
	}
	return nil
}

// checkAllWritable returns an error if one of the files could not be written.
func checkAllWritable(outputs []form, stdout io.Writer) error {
	for _, o := range outputs {
		if err := checkWritable(o.path, stdout); err != nil {
			return err
		}
	}
	return nil
}

// writeOutputs writes all forms. Files come first: standard output may be closed or full.
// It gets the text unless it gets another form.
func writeOutputs(con *console, outputs []form, text func(io.Writer)) error {
	var errs []error
	toStdout := text
	for _, o := range outputs {
		switch o.path {
		case "":
		case "-":
			toStdout = func(w io.Writer) { errs = append(errs, o.write(w)) }
		default:
			errs = append(errs, writeFile(o.path, o.write))
		}
	}
	toStdout(con.out)
	return errors.Join(errs...)
}
