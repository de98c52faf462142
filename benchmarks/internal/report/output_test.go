//go:build linux

package report

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func testReport(name string) *Report {
	r := &Report{Scenario: name, Title: "Of " + name, Command: "run " + name, Machine: "machine", Results: map[string]int{"figure": 42}}
	r.AddPlot(name+"-good", "how it is", func() ([]byte, error) { return []byte("<svg/>"), nil })
	r.AddPlot(name+"-bad", "how it is not", func() ([]byte, error) { return nil, errors.New("no ink") })
	t := NewTable("", []Column[float64]{{Name: "figure", Of: func(v float64) float64 { return v }}}, "server")
	AddRow(t, []float64{42}, []Column[float64]{{Name: "figure", Of: func(v float64) float64 { return v }}}, "ours")
	r.Add(t)
	r.Notef("a note of %s", name)
	return r
}

// What cannot be drawn keeps nothing else from being written, and is not shown.
func TestWrite(t *testing.T) {
	missing := []Missing{{"storm", false, "it rains"}, {"requests", true, "SKIPPED: no wrk"}, {"soak", false, "a leak\nof water"}}
	out := &Outcome{Reports: []*Report{testReport("idle"), testReport("soak")}, Missing: missing}
	dir := filepath.Join(t.TempDir(), "new", "directory")
	if err := out.Write(dir); err == nil || !strings.Contains(err.Error(), "soak-bad.svg: no ink") {
		t.Errorf("error %v", err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}

	var got Outcome
	if err := json.Unmarshal([]byte(read("results.json")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Reports) != 2 || got.Reports[0].Command != "run idle" || got.Reports[1].Scenario != "soak" || !slices.Equal(got.Missing, missing) {
		t.Errorf("results.json has %+v", got)
	}

	rest := read("results.md")
	for _, want := range []string{
		"## Of idle\n", "`run idle`\n", "![how it is](idle-good.svg)\n", "| ours   |   42.0 |\n", "- a note of idle\n",
		"## Of soak\n", "![how it is](soak-good.svg)\n", "## Missing\n",
		"- storm: FAILED: it rains\n", "- requests: SKIPPED: no wrk\n", "- soak: FAILED: a leak\n  of water\n",
	} {
		before, after, ok := strings.Cut(rest, want)
		if !ok || strings.Contains(before, "-bad.svg") {
			t.Fatalf("%q is not there, or not in its place, or a picture is shown that is not there:\n%s", want, read("results.md"))
		}
		rest = after
	}

	if txt := read("results.txt"); !strings.Contains(txt, "BenchmarkIdle/ours 1 42 figure\n") || !strings.Contains(txt, "BenchmarkSoak/ours 1 42 figure\n") {
		t.Errorf("results.txt is\n%s", txt)
	}
	if svg := read("idle-good.svg"); svg != "<svg/>" {
		t.Errorf("picture %q", svg)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 {
		t.Errorf("there are %d files, %v: %v", len(files), err, files)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// A scenario that was skipped is no error.
func TestErr(t *testing.T) {
	out := &Outcome{Missing: []Missing{{"requests", true, "no wrk"}}}
	if err := out.Err(); err != nil {
		t.Error(err)
	}
	out.Missing = append(out.Missing, Missing{"soak", false, "a leak"})
	if err := out.Err(); err == nil || err.Error() != "soak: FAILED: a leak" {
		t.Errorf("error %v", err)
	}
}

// At an axis there is no use for zeros at the end.
func TestShortFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 50: "50", 26.56: "26.6", 0.0991: "0.099", 1.5: "1.5", 4603.2: "4603", 100: "100"} {
		if got := shortFigure(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
