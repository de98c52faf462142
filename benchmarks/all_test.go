//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/bench"
)

// parse returns the command that a command line means.
func parse(t *testing.T, args ...string) (string, *program, error) {
	t.Helper()
	p := new(program)
	k, err := kong.New(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return "", nil, err
	}
	return ctx.Command(), p, nil
}

func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                   "all",
		"--quick --rounds 2": "all",
		"all --quick":        "all",
		"idle --quick":       "idle",
		"storm --out x":      "storm",
	} {
		if got, _, err := parse(t, strings.Fields(line)...); got != want {
			t.Errorf("%q means %q, %v, want %q", line, got, err, want)
		}
	}
	if _, p, err := parse(t, "--quick", "--parts", "idle,soak", "--install"); err != nil || !p.All.Quick || !p.All.Install || !slices.Equal(p.All.Parts, []string{"idle", "soak"}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, line := range []string{"nothing", "--quick storm", "--parts nothing"} {
		if got, _, err := parse(t, strings.Fields(line)...); err == nil {
			t.Errorf("%q means %q", line, got)
		}
	}
}

// Every part can be run among the others: under the name of its command, with
// the options that all of them are given.
func TestParts(t *testing.T) {
	if args := (&all{options: options{ServerCPU: bench.DefaultCPU, ClientCPU: bench.DefaultCPU}}).args(); len(args) > 0 {
		t.Errorf("parts are given %q though nothing was asked for", args)
	}
	a := all{options: options{Quick: true, ServerCPU: -1, ClientCPU: 2, Tlsdemo: "/x"}}
	field, _ := reflect.TypeFor[all]().FieldByName("Parts")
	names := strings.Split(field.Tag.Get("enum"), ",")
	for _, k := range partKinds {
		if len(names) == 0 || names[0] != k.name {
			t.Fatalf("the parts to choose from are %q, want the order of partKinds: %s", names, k.name)
		}
		names = names[1:]
		args := a.args()
		if !k.norounds {
			args = append(args, "--rounds", "3")
		}
		p := k.make()
		if err := parsePart(p, append(args, k.quick...)); err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		if o := *p.shared(); !o.Quick || o.ServerCPU != -1 || o.ClientCPU != 2 || o.Tlsdemo != "/x" || o.JSON != "" || o.Out != "" {
			t.Errorf("%s has options %+v", k.name, o)
		}
		if got, _, err := parse(t, append([]string{k.name}, args...)...); got != k.name {
			t.Errorf("the command of %s is %q, %v", k.name, got, err)
		}
	}
	if len(names) > 0 {
		t.Errorf("no such parts: %q", names)
	}
}

// fakePart does what its function does.
type fakePart struct {
	options
	do func(*options) error
}

func (p *fakePart) Run(context.Context) error { return p.do(&p.options) }

func fakeReport(name string) *report {
	r := &report{Part: name, Machine: "machine", Results: map[string]int{"figure": 42}}
	r.addPlot(name+"-good", "how it is", func() ([]byte, error) { return []byte("<svg/>"), nil })
	r.addPlot(name+"-bad", "how it is not", func() ([]byte, error) { return nil, errors.New("no ink") })
	return r
}

func fakeTable() *bench.Table {
	t := &bench.Table{Header: []string{"server", "figure"}}
	t.Add("ours", "42")
	return t
}

// A part that fails, is skipped, or says that its results are doubtful takes
// nothing from the others.
func TestPartsThatFail(t *testing.T) {
	out := new(outcome)
	run := func(name string, do func(*options) error) {
		t.Helper()
		out.run(t.Context(), name, &fakePart{do: do}, "run "+name)
	}
	run("storm", func(*options) error { return errors.New("it rains") })
	run("requests", func(*options) error { return fmt.Errorf("%w: no wrk", errSkipped) })
	run("idle", func(o *options) error { return fakeReport("idle").finish(o, []string{"a note"}, fakeTable()) })
	run("soak", func(o *options) error {
		return errors.Join(fakeReport("soak").finish(o, nil, fakeTable()), errors.New("a leak\nof water"))
	})
	dir := filepath.Join(t.TempDir(), "new", "directory")
	if err := out.keep(&options{Out: dir, JSON: filepath.Join(filepath.Dir(filepath.Dir(dir)), "raw.json")}, out); err == nil || !strings.Contains(err.Error(), "picture soak-bad: no ink") {
		t.Errorf("error %v", err)
	}

	var got struct {
		Reports []struct {
			Part, Command string
			Results       map[string]int
		}
		Missing []missing
	}
	for _, file := range []string{filepath.Join(dir, "results.json"), filepath.Join(filepath.Dir(filepath.Dir(dir)), "raw.json")} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Reports) != 2 || got.Reports[0].Part != "idle" || got.Reports[0].Command != "run idle" || got.Reports[1].Part != "soak" || got.Reports[1].Results["figure"] != 42 {
			t.Errorf("%s has reports %+v", file, got.Reports)
		}
		want := []missing{{"storm", false, "it rains"}, {"requests", true, "SKIPPED: no wrk"}, {"soak", false, "a leak\nof water"}}
		if !slices.Equal(got.Missing, want) {
			t.Errorf("%s misses %+v, want %+v", file, got.Missing, want)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	rest := string(b)
	for _, want := range []string{
		"## Idle connections\n", "`run idle`\n", "![how it is](idle-good.svg)\n", "| ours   |     42 |\n", "- a note\n",
		"## Soak\n", "![how it is](soak-good.svg)\n", "## Missing\n",
		"- storm: FAILED: it rains\n", "- requests: SKIPPED: no wrk\n", "- soak: FAILED: a leak\n  of water\n",
	} {
		before, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is not there, or not in its place:\n%s", want, b)
		}
		if strings.Contains(before, "-bad.svg") {
			t.Errorf("a picture is shown that is not there:\n%s", b)
		}
		rest = after
	}
	if b, err := os.ReadFile(filepath.Join(dir, "soak-good.svg")); string(b) != "<svg/>" {
		t.Errorf("picture %q, %v", b, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Errorf("there are %d files, %v: %v", len(files), err, files)
	}

	err = out.err(t.Context())
	if err == nil || err.Error() != "storm: FAILED: it rains\nsoak: FAILED: a leak\nof water" {
		t.Errorf("error %v", err)
	}
	if err := (&outcome{Missing: []missing{{"requests", true, "no wrk"}}}).err(t.Context()); err != nil {
		t.Errorf("a skipped part is an error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(outcome).err(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run: %v", err)
	}
}

// A part by itself keeps what it is told to.
func TestFinish(t *testing.T) {
	dir := t.TempDir()
	o := &options{JSON: dir + "/raw.json", Out: dir + "/out"}
	begun := fakeReport("idle")
	begun.Notes = []string{"an earlier one"}
	if err := begun.finish(o, []string{"a note"}, fakeTable()); err == nil || !strings.Contains(err.Error(), "idle-bad") {
		t.Errorf("error %v", err)
	}
	var r report
	b, err := os.ReadFile(o.JSON)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || r.Part != "idle" || !slices.Equal(r.Notes, []string{"an earlier one", "a note"}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, name := range []string{"results.md", "results.json", "idle-good.svg"} {
		if info, err := os.Stat(filepath.Join(o.Out, name)); err != nil || info.Mode() != 0o644 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

func TestSkipped(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if err := new(requests).Run(t.Context()); !errors.Is(err, errSkipped) || !strings.Contains(err.Error(), "wrk") {
		t.Errorf("error %v", err)
	}
}
