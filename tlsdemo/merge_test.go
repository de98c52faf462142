package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/report"
)

// machineResult is what a machine measured that made handshakes of the given times.
func machineResult(t *testing.T, host string, us ...int64) *load.Result {
	t.Helper()
	h := hdrhistogram.New(1, time.Hour.Microseconds(), load.Digits)
	for _, v := range us {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	n := int64(len(us))
	return &load.Result{
		Schema: load.Schema, Handshakes: n, HandshakesPer: float64(n), Duration: 1, Started: began, MeasuredFrom: began,
		Latency:      load.Percentiles{Count: n, P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), Max: h.Max()},
		Histograms:   load.Histograms{Latency: load.Histogram(text)},
		ErrorsByKind: map[string]int64{}, Targets: []load.Target{{Target: "server:443", Address: "192.0.2.1:443", Handshakes: n}},
		Client:      load.Client{Busy: .1, Loops: 1},
		Settings:    load.Settings{Command: "tlsdemo load server:443", Flags: map[string]string{"rate": "10"}},
		Environment: load.Environment{Host: host},
	}
}

func resultPath(t *testing.T, name string, res *load.Result) string {
	t.Helper()
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReportMerges(t *testing.T) {
	busy := machineResult(t, "west", 3000, 4000, 500_000)
	busy.Warnings, busy.Settings.Flags["curve"] = []string{"the client was busy"}, "P-256"
	a, b := resultPath(t, "east.json", machineResult(t, "east", 1000, 2000)), resultPath(t, "west.json", busy)
	page, merged := filepath.Join(t.TempDir(), "page.html"), filepath.Join(t.TempDir(), "all.json")
	status, out, errs := runReport("--merge", a, b, "--json", merged, "--output", page)
	if status != 0 {
		t.Fatalf("status %d, %q", status, errs)
	}
	for _, want := range []string{
		"server:443 (192.0.2.1:443)\n",
		"\n  handshakes  5\n",
		"\n  rate        5.00/s, of 20/s asked for, for 1 s\n",
		"\n  latency  3.00 ms  500 ms  500 ms  500 ms  500 ms\n",
		"\n  machine  handshakes  rate   errors  p50      p99      max      client busy\n  east     2           2.0/s  0       1.00 ms  2.00 ms  2.00 ms  10 %\n  west     3           3.0/s  0       4.00 ms  500 ms",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if want := "tlsdemo: warning: --curve differs: not set in east; P-256 in west.\ntlsdemo: warning: west: the client was busy\n"; errs != want {
		t.Errorf("%q, want %q", errs, want)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<h1>server:443 from 2 machines</h1>") {
		t.Errorf("a page of %d bytes, error %v", len(text), err)
	}

	// The result can be read, compared, and merged again.
	f, err := os.Open(merged)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := report.Read(f)
	if err != nil || res.Handshakes != 5 || len(res.Machines) != 2 {
		t.Fatalf("%+v, error %v", res, err)
	}
	if status, _, errs := runReport(merged, a, "--output", page); status != 0 {
		t.Errorf("comparing it: status %d, %q", status, errs)
	}
	c := resultPath(t, "north.json", machineResult(t, "north", 10))
	status, out, errs = runReport("--merge", merged, c, "--output", page)
	if status != 0 || !strings.Contains(out, "\n  handshakes  6\n") || strings.Count(out, "\n") == 0 || !strings.Contains(out, "\n  north ") || !strings.Contains(out, "\n  east ") {
		t.Errorf("merging it again: status %d, %q, %q", status, out, errs)
	}
	if status, out, _ := runReport("--merge", a, b, "--json", "-", "--output", page); status != 0 || !json.Valid([]byte(out)) {
		t.Errorf("JSON to standard output: status %d, %q", status, out)
	}
	if status, out, _ := runReport("--merge", a, b, "--output", "-"); status != 0 || !strings.HasPrefix(out, "<!") {
		t.Errorf("the page to standard output: status %d, %q", status, out)
	}
}

// Thresholds are about all machines together.
func TestReportMergeThresholds(t *testing.T) {
	a, b := resultPath(t, "a.json", machineResult(t, "a", 1000, 2000)), resultPath(t, "b.json", machineResult(t, "b", 1000, 500_000))
	page, all, table := filepath.Join(t.TempDir(), "page.html"), filepath.Join(t.TempDir(), "all.json"), filepath.Join(t.TempDir(), "all.csv")
	args := []string{"--merge", a, b, "--output", page, "--json", all, "--csv", table}
	if status, _, errs := runReport(append(args, "--min-rate", "4", "--max-p50", "1ms", "--max-errors", "0")...); status != 0 || errs != "" {
		t.Errorf("met: status %d, %q", status, errs)
	}
	status, out, errs := runReport(append(args, "--min-rate", "4.1", "--max-p50", "1ms", "--max-p99", "100ms")...)
	if status != 1 || errs != "tlsdemo: the rate was 4.0/s, below --min-rate 4.1; p99 latency was 500.223ms, above --max-p99 100ms\n" || !strings.Contains(out, "handshakes  4\n") {
		t.Errorf("not met: status %d, %q, %q", status, out, errs)
	}
	if text, err := os.ReadFile(all); err != nil || !strings.Contains(string(text), "below --min-rate 4.1") {
		t.Errorf("JSON without the threshold: %v", err)
	}
	if text, err := os.ReadFile(table); err != nil || !strings.HasSuffix(string(text), "\n100,500223,4\n") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestReportMergeRefuses(t *testing.T) {
	a, b := resultPath(t, "a.json", machineResult(t, "a", 1)), resultPath(t, "b.json", machineResult(t, "b", 1))
	old := machineResult(t, "old", 1)
	old.Schema, old.Histograms = 0, load.Histograms{}
	oldPath := resultPath(t, "old.json", old)
	later := resultPath(t, "later.json", &load.Result{Schema: load.Schema + 1})
	bad := machineResult(t, "bad", 1)
	bad.Histograms.Latency = bad.Histograms.Latency[:40]
	badPath := resultPath(t, "bad.json", bad)
	dir := t.TempDir()
	page, all := filepath.Join(dir, "page.html"), filepath.Join(dir, "all.json")
	before, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"the same file twice":  {[]string{"--merge", a, b, a}, 1, "--merge: "},
		"a copy of it":         {[]string{"--merge", a, resultPath(t, "copy.json", machineResult(t, "a", 1))}, 1, "--merge: a and copy are the same run: of \"tlsdemo load server:443\" on a at 2026-03-01T12:00:00Z; leave one out"},
		"an old one":           {[]string{"--merge", a, oldPath}, 1, "--merge: old: an older tlsdemo made it, without the histograms that a merge needs"},
		"a later one":          {[]string{"--merge", a, later}, 1, "later.json: a newer tlsdemo made it: its schema is 3"},
		"a bad histogram":      {[]string{"--merge", a, badPath}, 1, "bad.json: not a result of tlsdemo load --json: histograms.latency: "},
		"JSON without a merge": {[]string{a, b, "--json", all}, 2, "only a merge has a new result (--merge)"},
		"thresholds alone":     {[]string{a, b, "--max-p99", "1s"}, 2, "--merge"},
		"both to stdout":       {[]string{"--merge", a, b, "--json", "-", "--output", "-"}, 2, "cannot both go to standard output"},
		"one file for both":    {[]string{"--merge", a, b, "--json", page}, 2, " is the file of --json"},
		"onto an input":        {[]string{"--merge", a, b, "--json", a}, 2, "--json: " + a + " is one of the files to read"},
		"onto a directory":     {[]string{"--merge", a, b, "--json", dir}, 2, "--json: " + dir + " is a directory"},
	} {
		args := c.args
		if name != "both to stdout" {
			args = append(args, "--output", page)
		}
		status, out, errs := runReport(args...)
		if status != c.status || out != "" || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q; want %d, %s", name, status, out, errs, c.status, c.says)
		}
	}
	for _, path := range []string{page, all} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("what was refused has left %s", path)
		}
	}
	if after, _ := os.ReadFile(a); !bytes.Equal(before, after) {
		t.Error("an input was overwritten")
	}
	if status, _, errs := runReport(a, oldPath, "--output", page); status != 0 {
		t.Errorf("comparing with an old one: status %d, %q", status, errs)
	}
}

// What a file says cannot give orders to the terminal.
func TestReportMergePrintsNoControls(t *testing.T) {
	const order = "\x1b[2J\u009b2J\r\n\u202e\u2028"
	res := machineResult(t, order, 1)
	res.Warnings, res.Targets[0].Target, res.Settings.Command = []string{order}, order, order
	res.ErrorsByKind, res.ErrorExamples = map[string]int64{order: 1}, map[string]string{order: order}
	path := resultPath(t, "x.json", res)
	page := filepath.Join(t.TempDir(), "page.html")
	control := func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }
	if status, out, errs := runReport("--merge", path, "--output", page); status != 0 || strings.ContainsFunc(out+errs, control) || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	if status, out, errs := runReport("--merge", path, path, "--output", page); status != 1 || out != "" || strings.ContainsFunc(errs, control) {
		t.Errorf("twice: status %d, %q, %q", status, out, errs)
	}
	if _, _, errs := runReport("/nonexistent/" + order + ".json"); errs == "" || strings.ContainsFunc(errs, control) {
		t.Errorf("a file's name: %q", errs)
	}
}

// More results can be merged than compared.
func TestReportMergesMany(t *testing.T) {
	args := []string{"--merge", "--output", filepath.Join(t.TempDir(), "page.html")}
	for i := range 20 {
		args = append(args, resultPath(t, fmt.Sprint("m", i, ".json"), machineResult(t, fmt.Sprint("m", i), 1000)))
	}
	if status, out, errs := runReport(args...); status != 0 || !strings.Contains(out, "\n  handshakes  20\n") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}
