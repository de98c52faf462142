package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// summarize prints a table of the results, with a column for each run. It returns
// nil only if all handshakes succeeded and each run had some.
func summarize(con *console, runs []*demoRun) error {
	fmt.Fprintln(con.out)
	demoTable(con.out, runs)
	if warning := disturbed(runs); warning != "" {
		fmt.Fprintf(con.out, "\n%s\n", warning)
	}
	var worked, failed int64
	idle := false
	for _, r := range runs {
		for _, what := range slices.Sorted(maps.Keys(r.clients.failures)) {
			fmt.Fprintf(con.err, "tlsdemo: %s, %d times: %s\n", r.name, r.clients.failures[what], what)
		}
		worked += r.worked()
		failed += r.failed()
		idle = idle || r.worked() == 0
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d handshakes failed", failed, worked+failed)
	case idle:
		return errors.New("no handshake was completed in time")
	}
	return nil
}

// disturbed returns a warning if other programs disturbed the runs, else "".
func disturbed(runs []*demoRun) string {
	most := 0.0
	for _, r := range runs {
		if share, yes := r.cores.crowded(r.elapsed); yes {
			most = max(most, share)
		}
	}
	if most == 0 {
		return ""
	}
	return fmt.Sprintf("Other programs used up to %.0f %% of the cores meanwhile: these latencies say little.\nRun the demo on an idle machine.", 100*most)
}

// demoRow is a row of the demo's table.
type demoRow struct {
	name string
	cell func(*demoRun) string // "": the run has none
	// compare, if not nil, returns the figure to compare. The table shows the
	// ratio of two runs' figures, unless one is NaN.
	compare func(*demoRun) float64
}

var demoRows = []demoRow{
	{"handshakes", func(r *demoRun) string { return fmt.Sprintf("%d verified, %d failed", r.worked(), r.failed()) }, nil},
	{"TLS 1.3, TLS 1.2", func(r *demoRun) string {
		return fmt.Sprintf("%d, %d", r.clients.versions[tls.VersionTLS13], r.clients.versions[tls.VersionTLS12])
	}, nil},
	{"per second", func(r *demoRun) string { return fmt.Sprintf("%.0f", r.perSecond()) }, (*demoRun).perSecond},
	latencyRow("p50", 50),
	latencyRow("p90", 90),
	latencyRow("p99", 99),
	latencyRow("max", 100),
	{"loop's CPU for each", func(r *demoRun) string {
		if !r.cpuKnown || r.clients.finished.Load() == 0 {
			return ""
		}
		if r.engine == engineOffload {
			return fmt.Sprintf("%.0f µs, less signing", r.cpuEach())
		}
		return fmt.Sprintf("%.0f µs", r.cpuEach())
	}, func(r *demoRun) float64 {
		if r.engine == engineOffload {
			return math.NaN() // not comparable: signing is on other threads
		}
		return r.cpuEach()
	}},
	{"signatures together", func(r *demoRun) string {
		mean, ok := r.batch()
		if !ok {
			return ""
		}
		return fmt.Sprintf("%.1f of 8", mean)
	}, nil},
	{"pauses per handshake", func(r *demoRun) string {
		if r.meter.handshakes == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", float64(r.meter.pauses)/float64(r.meter.handshakes))
	}, nil},
	{"most jobs in flight", func(r *demoRun) string {
		return fmt.Sprintf("%d, of %d clients", r.meter.most, r.clients.number)
	}, nil},
	{"threads that ran jobs", func(r *demoRun) string {
		if r.meter.unknown {
			return "unknown"
		}
		return fmt.Sprint(len(r.meter.threads))
	}, nil},
}

func latencyRow(name string, percent float64) demoRow {
	return demoRow{"latency " + name, func(r *demoRun) string {
		if r.worked() == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f ms", r.latency(percent))
	}, func(r *demoRun) float64 { return r.latency(percent) }}
}

// demoTable prints each row for which at least one run has a cell. If there are
// two runs, a last column shows the second run's figures divided by the first's.
func demoTable(w io.Writer, runs []*demoRun) {
	var table [][]string
	if len(runs) > 1 {
		head := []string{""}
		for _, r := range runs {
			head = append(head, r.name)
		}
		table = append(table, append(head, "ratio"))
	}
	for _, row := range demoRows {
		line, missing := []string{row.name}, 0
		for _, r := range runs {
			cell := row.cell(r)
			if cell == "" {
				missing++
				cell = "-"
			}
			line = append(line, cell)
		}
		if missing == len(runs) {
			continue
		}
		if len(runs) == 2 && missing == 0 && row.compare != nil {
			if ratio := row.compare(runs[1]) / row.compare(runs[0]); !math.IsNaN(ratio) {
				line = append(line, fmt.Sprintf("%.2f", ratio))
			}
		}
		table = append(table, line)
	}
	writeColumns(w, table)
}

// writeColumns prints a table, indented and with aligned columns.
func writeColumns(w io.Writer, table [][]string) {
	var width []int
	for _, line := range table {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range table {
		var b strings.Builder
		for i, cell := range line {
			b.WriteString("  " + cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
