package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/report"
)

// This file is "tlsdemo report --merge".

// merge makes one result of the runs, and writes it.
func (c *reportCmd) merge(con *console, runs []report.Run) error {
	parts := make([]load.Part, len(runs))
	for i, r := range runs {
		parts[i] = load.Part{Name: r.Name, Result: r.Result}
	}
	res, err := load.Merge(parts)
	if err != nil {
		return errors.New("--merge: " + printable(err.Error()))
	}
	res.Unmet = c.Limits.check(res)
	page := []report.Run{{Name: mergedName(res), Result: res}}
	err = writeOutputs(con, c.outputs(res, page), func(w io.Writer) { printSummary(w, res) })
	con.warn(res.Warnings)
	if len(res.Unmet) > 0 {
		err = errors.Join(err, errors.New(printable(strings.Join(res.Unmet, "; "))))
	}
	return err
}

// mergedName is the name of a merged result on its page: its targets.
func mergedName(res *load.Result) string {
	var names []string
	for _, t := range res.Targets {
		if !slices.Contains(names, t.Target) {
			names = append(names, t.Target)
		}
		if len(names) == 4 {
			names[3] = "…"
			break
		}
	}
	return fmt.Sprintf("%s from %s", strings.Join(names, " "), plural(len(res.Machines), "machine"))
}

// writeMachines prints a line for each machine of a merged result.
func writeMachines(w io.Writer, machines []load.Machine) {
	fmt.Fprintln(w)
	table := [][]string{{"machine", "handshakes", "rate", "errors", "p50", "p99", "max", "client busy"}}
	for _, m := range machines {
		us := func(us int64) string {
			if m.Latency.Count == 0 {
				return "-"
			}
			return micros(us)
		}
		table = append(table, []string{m.Name, strconv.FormatInt(m.Handshakes, 10), fmt.Sprintf("%.1f/s", m.HandshakesPer), strconv.FormatInt(m.Errors, 10),
			us(m.Latency.P50), us(m.Latency.P99), us(m.Latency.Max), fmt.Sprintf("%.0f %%", 100*m.Client.Busy)})
	}
	writeColumns(w, table)
}
