//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// The test binary is also the program's servers and clients: those are started
// with a command, tests with flags.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // else each process takes a second to end, with the race detector
	os.Exit(m.Run())
}

// Every server goes through every part it has a place in, with real echoes and
// handshakes, and the report has their figures.
func TestQuickRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	dir := t.TempDir()
	m := &measure{Servers: []string{nameGnetjobs, nameJob, nameMultibuffer, nameGoroutines, nameGnet}, Quick: true, Out: dir, ServerCPU: bench.AnyCPU, ClientCPU: bench.AnyCPU}
	var out bytes.Buffer
	if err := m.run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	md, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil || !bytes.Equal(md, out.Bytes()) {
		t.Errorf("results.md is not what was printed (%v):\n%s", err, md)
	}
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Parts []struct {
			Part    string
			Failed  string
			Results []series[map[string]any]
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	measured := make(map[string]int)
	for _, p := range got.Parts {
		if p.Failed != "" {
			t.Errorf("%s: %s", p.Part, p.Failed)
		}
		for _, s := range p.Results {
			measured[strings.TrimSpace(p.Part+" "+s.Key)+" "+s.Server] = len(s.Rounds)
		}
	}
	for _, want := range []string{
		"throughput gnetjobs", "throughput goroutines", "throughput gnet",
		"messages gnetjobs", "messages goroutines", "messages gnet",
		"handshakes ECDSA P-256 gnetjobs", "handshakes ECDSA P-256 goroutines",
		"handshakes RSA-2048 gnetjobs", "handshakes RSA-2048 goroutines",
		"idle gnetjobs", "idle goroutines", "idle gnet",
	} {
		if measured[want] != 1 {
			t.Errorf("%s: %d rounds, want 1", want, measured[want])
		}
	}
	if t.Failed() {
		t.Logf("%s", md)
	}
}

func TestCheck(t *testing.T) {
	good := measure{Rounds: 1, Duration: time.Second, Connections: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for flag, m := range map[string]measure{
		"--rounds":      {Duration: 1, Connections: 1},
		"--duration":    {Rounds: 1, Connections: 1},
		"--connections": {Rounds: 1, Duration: 1},
	} {
		if err := m.check(); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: error %v", flag, err)
		}
	}
}

// What has failed is told in the report, too.
func TestReportTellsOfFailures(t *testing.T) {
	r := result{Notes: []string{"a note"}, Failed: "one\ntwo", title: "Title", table: &bench.Table{Header: []string{"server"}}}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	want := "\n## Title\n\n| server |\n|--------|\n\n- a note\n- FAILED: one; two\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
