package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// resultFile writes a file with a result of the given rate.
func resultFile(t *testing.T, path string, rate float64) string {
	t.Helper()
	text, err := json.Marshal(&load.Result{Handshakes: int64(rate), HandshakesPer: rate, Duration: 1, Latency: load.Percentiles{Count: 1, P50: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// runReport runs the command in this process.
func runReport(args ...string) (status int, out, err string) {
	var o, e bytes.Buffer
	status = run(append([]string{"report"}, args...), &console{&o, &e})
	return status, o.String(), e.String()
}

func TestReportComparesFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := resultFile(t, filepath.Join(dir, "before.json"), 1000), resultFile(t, filepath.Join(dir, "after.json"), 3000)
	page := filepath.Join(dir, "page.html")
	status, out, errs := runReport(a, b, "--output", page)
	if status != 0 || out != "wrote "+page+"\n" || errs != "" {
		t.Fatalf("status %d, %q, %q", status, out, errs)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 runs compared", "Compared with before", `<a href="#run-2">after</a>`, "3 times higher, better"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q on the page", want)
		}
	}
	if status, out, errs := runReport(a, b, "-", "--output", "-"); status == 0 {
		t.Errorf("a file that there is not: status %d, %q, %q", status, out, errs)
	}
	if status, out, errs := runReport(a, b, "--output", "-"); status != 0 || out != string(text) || errs != "" {
		t.Errorf("to stdout: status %d, %d bytes of %d, %q", status, len(out), len(text), errs)
	}
	if _, out, _ := runReport(a, "--output", "-", "--name", "old, as it was"); !strings.Contains(out, "<h1>old, as it was</h1>") {
		t.Error("--name does not name the run")
	}
}

func TestReportTellsRunsApart(t *testing.T) {
	dir := t.TempDir()
	a, b := resultFile(t, filepath.Join(dir, "x", "run.json"), 1000), resultFile(t, filepath.Join(dir, "y", "run.json"), 1000)
	_, out, errs := runReport(a, b, "--output", "-")
	for _, want := range []string{filepath.Join("x", "run") + "</a>", filepath.Join("y", "run") + "</a>"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s on the page (%s)", want, errs)
		}
	}
}

func TestReportRefuses(t *testing.T) {
	dir := t.TempDir()
	good := resultFile(t, filepath.Join(dir, "good.json"), 1000)
	before, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"handshakes":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.html")
	if err := os.Symlink(good, link); err != nil {
		t.Skip(err)
	}
	many := make([]string, 13)
	for i := range many {
		many[i] = good
	}
	page := filepath.Join(dir, "page.html")
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"nothing":           {[]string{"--output", page}, 2, "<files>"},
		"no such file":      {[]string{filepath.Join(dir, "none.json"), "--output", page}, 2, "none.json"},
		"no result":         {[]string{good, bad, "--output", page}, 1, "bad.json: not a result of tlsdemo load --json: it has no \"errors\""},
		"its input":         {[]string{good, "--output", good}, 2, "is one of the files to read"},
		"a link to it":      {[]string{good, "--output", link}, 2, "is one of the files to read"},
		"a directory":       {[]string{good, "--output", dir}, 2, "is a directory"},
		"no output":         {[]string{good, "--output", ""}, 2, "--output"},
		"names":             {[]string{good, good, "--name", "a", "--output", page}, 2, "1 names for 2 files"},
		"too many":          {append(many, "--output", page), 2, "13 files, at most 12"},
		"output is nowhere": {[]string{good, "--output", filepath.Join(dir, "none", "page.html")}, 1, filepath.Join("none", "page.html")},
	} {
		status, out, errs := runReport(c.args...)
		if status != c.status || out != "" || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q; want %d, %s", name, status, out, errs, c.status, c.says)
		}
	}
	if _, err := os.Stat(page); err == nil {
		t.Error("what was refused has left a page")
	}
	if after, _ := os.ReadFile(good); !bytes.Equal(before, after) {
		t.Error("an input was overwritten")
	}
}
