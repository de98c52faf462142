//go:build linux

package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// This file writes figures in Go's benchmark format
// (https://go.dev/design/14313-benchmark-format), so that benchstat compares two
// runs. A line is one round of one row; the units are the columns' headings. Whatever
// differs from run to run, such as the version, is left out, because benchstat would
// take it for another benchmark.

// benchName is the name of a row with these first cells.
func (t *Table) benchName(first []string) string {
	name := t.name
	for i, cell := range first {
		if i > 0 { // "1000" says nothing without its heading
			cell = t.Header[i] + "=" + cell
		}
		name += "/" + cell
	}
	name = strings.NewReplacer(" *", "", ", ", "/", ": ", "/", " ", "_").Replace(name)
	return strings.Trim(name, "/")
}

// rescaled are units of headings that benchstat rescales by itself if it gets them
// as plain seconds or bytes.
var rescaled = []struct {
	ending, unit string
	factor       float64
}{
	{", ms", "-sec", 1e-3},
	{", s", "-sec", 1},
	{", µs each", "-sec-each", 1e-6},
	{", MB", "-B", 1e6},
	{"ns", "sec", 1e-9},
}

// benchUnit is a column's heading as a unit, and what to multiply its figures by:
// "p50, ms" is "p50-sec" and a thousandth.
func benchUnit(heading string) (unit string, factor float64) {
	factor = 1
	for _, r := range rescaled {
		if rest, ok := strings.CutSuffix(heading, r.ending); ok {
			heading, factor = rest+r.unit, r.factor
			break
		}
	}
	return strings.NewReplacer(", /", "/", ", ", "-", " ", "-").Replace(heading), factor
}

// benchFigure is a figure with its unit, or nothing if it was not measured.
func benchFigure(v float64, heading string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	unit, factor := benchUnit(heading)
	return fmt.Sprintf(" %.6g %s", v*factor, unit)
}

// goBench returns the figures of all reports.
func (out *Outcome) goBench() []byte {
	var b strings.Builder
	higher := make(map[string]bool)
	for _, r := range out.Reports {
		fmt.Fprintf(&b, "pkg: %s\ncpu: %s\n", r.Scenario, r.cpu)
		for _, t := range r.tables {
			for _, line := range t.bench {
				fmt.Fprintf(&b, "Benchmark%s%s/%s\n", strings.ToUpper(r.Scenario[:1]), r.Scenario[1:], line)
			}
			for _, unit := range t.higher {
				higher[unit] = true
			}
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(higher)) {
		fmt.Fprintf(&b, "Unit %s better=higher\n", unit)
	}
	return []byte(b.String())
}
