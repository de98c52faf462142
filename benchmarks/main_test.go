//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/benchmarks/internal/process/proctest"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// The test binary is also the program, with its servers and clients: those are
// started with a command, tests with flags.
func TestMain(m *testing.M) {
	if proctest.Hidden() {
		main()
		return
	}
	os.Exit(proctest.Run(m))
}

func TestCommandLine(t *testing.T) {
	parse := func(line string) (string, error) {
		k, err := parser(kong.Exit(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		run, err := k.Parse(strings.Fields(line))
		if err != nil {
			return "", err
		}
		return run.Command(), nil
	}
	for line, want := range map[string]string{
		"":                   "all",
		"--quick --rounds 2": "all",
		"all --quick":        "all",
		"--quick --scenarios idle,soak --install": "all",
		"idle --quick":  "idle",
		"storm --out x": "storm",
	} {
		if got, err := parse(line); got != want {
			t.Errorf("%q means %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"nothing", "--quick storm", "--scenarios nothing"} {
		if got, err := parse(line); err == nil {
			t.Errorf("%q means %q", line, got)
		}
	}
}

// Servers go through the scenarios with real connections, and the reports have
// their figures.
func TestQuickRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	for _, tt := range []struct {
		args string
		rows []string // in the tables, with figures
	}{
		{"echo --quick --servers gnetjobs,gnetjobs-job,goroutines,gnet", []string{"gnetjobs", "gnetjobs-job", "goroutines", "gnet"}},
		{"handshakes --rounds 1 --warmup 100ms --duration 1s --load none --key rsa2048 --tls 1.3 --resume full --servers gnetjobs,gnetjobs-job,gnetjobs-multibuffer,goroutines,grpc", []string{"gnetjobs", "gnetjobs-job", "goroutines", "grpc"}},
		{"idle --quick --servers gnetjobs,gnet", []string{"gnetjobs", "gnet"}},
		{"idle --quick --state half-handshake --servers nethttp-listentls", []string{"nethttp-listentls"}},
	} {
		scenario, _, _ := strings.Cut(tt.args, " ")
		t.Run(scenario, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], append(strings.Fields(tt.args), "--server-cpu=-1", "--client-cpu=-1", "--out", dir)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b, err := os.ReadFile(filepath.Join(dir, "results.json"))
			if err != nil {
				t.Fatal(err)
			}
			var got report.Outcome
			if err := json.Unmarshal(b, &got); err != nil || len(got.Reports) != 1 || got.Reports[0].Scenario != scenario || len(got.Missing) > 0 {
				t.Errorf("%+v, %v", got, err)
			}
			txt, err := os.ReadFile(filepath.Join(dir, "results.txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range tt.rows {
				if !strings.Contains(string(out), "| "+row+" ") || !strings.Contains(string(txt), "/"+row) {
					t.Errorf("%s has no figures:\n%s\n%s", row, out, txt)
				}
			}
		})
	}
}
