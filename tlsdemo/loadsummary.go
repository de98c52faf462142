package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// printSummary prints a result for a person at a terminal, without control characters.
func printSummary(w io.Writer, res *load.Result) {
	var text strings.Builder
	writeLoadSummary(&text, res)
	if len(res.Machines) > 0 {
		writeMachines(&text, res.Machines)
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n")))
	}
}

// writeLoadSummary describes a run as text.
func writeLoadSummary(w io.Writer, res *load.Result) {
	if res.Sweep != nil {
		writeSweep(w, res.Sweep)
	}
	for _, t := range res.Targets {
		line := t.Target
		if t.Address != t.Target {
			line += " (" + t.Address + ")"
		}
		if len(res.Targets) > 1 {
			line += fmt.Sprintf(": %d handshakes, %d errors", t.Handshakes, t.Errors)
			if t.Latency.Count > 0 {
				line += fmt.Sprintf(", p50 %s, p99 %s", micros(t.Latency.P50), micros(t.Latency.P99))
			}
		}
		fmt.Fprintln(w, line)
	}
	for _, n := range res.Negotiated {
		fmt.Fprintf(w, "  %s\n", strings.Join(slices.DeleteFunc([]string{
			n.Version, n.Cipher, n.Curve, n.ALPN, map[bool]string{true: "resumed", false: "full"}[n.Resumed],
			share(n.Handshakes, res.Handshakes),
		}, func(s string) bool { return s == "" }), ", "))
	}
	if len(res.Certificates) == 1 {
		fmt.Fprintf(w, "  key %s\n", res.Certificates[0].Key)
	}
	fmt.Fprintln(w)
	writeColumns(w, figureRows(res))
	fmt.Fprintln(w)
	table := [][]string{{"", "p50", "p90", "p99", "p99.9", "max"}}
	row := func(name string, p *load.Percentiles) {
		if p != nil && p.Count > 0 {
			table = append(table, []string{name, micros(p.P50), micros(p.P90), micros(p.P99), micros(p.P999), micros(p.Max)})
		}
	}
	row("latency", &res.Latency)
	row("start delay", res.StartDelay)
	row("TCP connect", &res.Phases.Connect)
	row("TLS handshake", &res.Phases.TLS)
	row("first byte", res.Phases.FirstByte)
	row("gave up after", res.GaveUpAfter)
	row("hold ended after", res.HeldEndedAfter)
	if len(table) > 1 {
		writeColumns(w, table)
	}
	for _, kind := range load.SortedKinds(res.ErrorsByKind) {
		fmt.Fprintf(w, "  %s, for example: %s\n", kind, res.ErrorExamples[kind])
	}
}

// figureRows are the figures that are no distributions. What has no samples is left out.
func figureRows(res *load.Result) [][]string {
	rows := [][]string{{"handshakes", strconv.FormatInt(res.Handshakes, 10)}}
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	if res.Duration > 0 {
		asked := ""
		if rate := res.Settings.Flags["rate"]; rate != "" && res.Sweep == nil {
			asked = ", of " + rate + "/s asked for"
		}
		if res.Handshakes == 0 && res.HandshakesPer > 0 {
			asked += ", all due before the measured part"
		}
		rate := rateText(res.HandshakesPer)
		if res.HandshakesPer >= 100 {
			rate = fmt.Sprintf("%.1f", res.HandshakesPer)
		}
		add("rate", "%s/s%s, for %.3g s", rate, asked, res.Duration)
	}
	add("errors", "%s", strings.TrimSuffix(fmt.Sprintf("%d: %s", res.Errors, countKinds(res.ErrorsByKind)), ": "))
	if res.Duration > 0 {
		add("in flight", "%d at most", res.MaxInFlight)
	}
	if res.BytesRead+res.BytesWritten > 0 {
		add("bytes", "%s read, %s written", byteCount(res.BytesRead), byteCount(res.BytesWritten))
	}
	var client []string
	if res.Client.CPUPerHandshake > 0 {
		client = append(client, fmt.Sprintf("%.0f µs CPU each", res.Client.CPUPerHandshake))
	}
	if res.Duration > 0 {
		client = append(client, fmt.Sprintf("%.0f %% of %s", 100*res.Client.Busy, plural(res.Client.Loops, "thread")))
	}
	add("client", "%s", strings.Join(append(client, byteCount(res.Client.MaxRSS)), ", "))
	if len(res.Aborted) > 0 {
		add("aborted", "%s", countKinds(res.Aborted))
	}
	if res.Held > 0 {
		add("held", "%d, of which the server ended %d", res.Held, res.HeldEndedByServer)
	}
	if res.Stopped != "" {
		cut := ""
		if res.Total.Canceled > 0 {
			cut = fmt.Sprintf("; %d cut off, the oldest after %s", res.Total.Canceled, micros(res.Total.OldestCanceled))
		}
		add("stopped", "early: %s%s", res.Stopped, cut)
	}
	return rows
}

// writeSweep prints a line for each step of a sweep, ordered by rate.
func writeSweep(w io.Writer, s *load.Sweep) {
	if len(s.Steps) == 0 {
		fmt.Fprint(w, "  knee: not known: no step was finished. The figures below are of the part of the first one.\n\n")
		return
	}
	table := [][]string{{"rate", "done", "p50", "p99", "errors", "client busy", ""}}
	steps := slices.SortedStableFunc(slices.Values(s.Steps), func(a, b load.Step) int { return cmp.Compare(a.Rate, b.Rate) })
	for _, st := range steps {
		verdict := "kept up"
		if !st.KeptUp {
			verdict = st.Why
		}
		p50, p99 := "-", "-"
		if st.Latency.Count > 0 {
			p50, p99 = micros(st.Latency.P50), micros(st.Latency.P99)
		}
		table = append(table, []string{rateText(st.Rate) + "/s", rateText(st.HandshakesPer) + "/s",
			p50, p99, strconv.FormatInt(st.Errors, 10), fmt.Sprintf("%.0f %%", 100*st.ClientBusy), verdict})
	}
	writeColumns(w, table)
	switch {
	case s.Knee == 0:
		fmt.Fprintf(w, "\n  knee: below the first rate: %s\n\n", s.Limit)
	case s.Limit == "":
		fmt.Fprintf(w, "\n  knee: not found up to %s/s. The figures below are for that rate.\n\n", rateText(s.Knee))
	default:
		fmt.Fprintf(w, "\n  knee: %s/s; above it: %s. The figures below are for that rate.\n\n", rateText(s.Knee), s.Limit)
	}
}

// countKinds lists the number of errors of each kind, the most frequent first.
func countKinds(kinds map[string]int64) string {
	var parts []string
	for _, kind := range load.SortedKinds(kinds) {
		parts = append(parts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// micros prints microseconds with three digits, in a suitable unit.
func micros(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", us)
	case us < 999_500: // more would be 1000 ms
		return threeDigits(d.Seconds()*1e3) + " ms"
	}
	return threeDigits(d.Seconds()) + " s"
}

func byteCount(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return threeDigits(f) + " " + units[i]
}

// rateText prints a number per second.
func rateText(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return threeDigits(v)
}

// threeDigits prints a number from 0 to 999 with as many digits as matter.
func threeDigits(v float64) string {
	switch {
	case v >= 99.95 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// share prints n as a percentage of all; "" if n is all.
func share(n, all int64) string {
	if n == all {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(all))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
