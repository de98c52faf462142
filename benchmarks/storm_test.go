//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// fakeClient is a tlsdemo whose load prints a result, and keeps its arguments.
func fakeClient(t *testing.T, res *load.Result) (program string, args func() []string) {
	t.Helper()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/result", b, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "tlsdemo")
	script := "#!/bin/sh\necho \"$*\" >> " + dir + "/args\ncat " + dir + "/result\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, func() []string {
		b, err := os.ReadFile(dir + "/args")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

func TestStrike(t *testing.T) {
	s := &storm{options: options{ClientCPU: -1}, Key: "rsa2048", Clients: 500, Timeout: 20 * time.Second}
	result := func(change func(*load.Result)) *load.Result {
		r := &load.Result{Handshakes: 499, Errors: 1, Duration: 1.5, ErrorsByKind: map[string]int64{"timeout": 1}, MaxInFlight: 480}
		r.Latency.P50, r.Latency.P99, r.Latency.Max = 1000, 2000, 1200000 // and then the one that failed ended
		change(r)
		return r
	}
	client, args := fakeClient(t, result(func(*load.Result) {}))
	checked := 0
	check := func(*load.Result) error { checked++; return nil }
	res, err := s.strike(t.Context(), client, ourselves(t, "us"), check)
	if err != nil {
		t.Fatal(err)
	}
	if res.Clients != 500 || res.Served != 499 || res.Last != 1.2 || res.InFlight != 480 || res.Errors["timeout"] != 1 ||
		res.Latency.P99 != 2000 || res.RSSBefore < 1<<20 || res.PeakRSS < res.RSSBefore {
		t.Errorf("%+v", res)
	}
	if checked != 1 {
		t.Errorf("the results were checked %d times", checked)
	}
	lines := args()
	if len(lines) != 2 || !strings.Contains(lines[0], "--connections 1 --count 1 ") {
		t.Errorf("the first load is not of one client: %q", lines)
	}
	const want = "load --quiet --json - --tls 1.3 --insecure --curve X25519 --resume none --rate 1000000 --connections 500 --count 500 --warmup 0s --ramp 0s --timeout 20s --request / --reset 127.0.0.1:1"
	if lines[len(lines)-1] != want {
		t.Errorf("the storm is %q, want %q", lines[len(lines)-1], want)
	}

	for want, change := range map[string]func(*load.Result){
		"none of 500 clients was served": func(r *load.Result) { r.Handshakes = 0 },
		"out of descriptors":             func(r *load.Result) { r.Stopped = "out of descriptors" },
	} {
		client, _ := fakeClient(t, result(change))
		if _, err := s.strike(t.Context(), client, ourselves(t, "us"), check); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	wrong := errors.New("another certificate")
	if _, err := s.strike(t.Context(), client, ourselves(t, "us"), func(*load.Result) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
}

func TestStormTable(t *testing.T) {
	results := map[string][]*stormResult{
		"jobloop": {{Clients: 1000, Served: 1000, InFlight: 899, Begun: load.Percentiles{Max: 1500000}, RSSBefore: 20e6, PeakRSS: 30e6, Last: 2}},
		"peer":    {{Clients: 1000, Served: 990, InFlight: 900, RSSBefore: 20e6, PeakRSS: 120e6, Last: 4, Errors: map[string]int64{"timeout": 7, "reset": 3}, Examples: map[string]string{"timeout": "after 20s"}}},
	}
	names := []string{"jobloop", "peer"}
	tab := &bench.Table{}
	addServers(tab, "", names, results, stormColumns)
	for i, want := range []string{
		"[jobloop 20.0 30.0 10.0 2.00 0 0 0]",
		"[peer 20.0 120 100 4.00 0 0 10.0]",
		"[jobloop / peer 1.00 0.25 0.10 0.50 – – 0.00]",
	} {
		if got := fmt.Sprint(tab.Rows[i]); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
	notes := strings.Join(stormWarnings(names, results), "\n")
	want := `jobloop, round 1: only 899 clients were there at a time: the first were served before the client's core had begun the last, after 1.50 s.
peer, round 1: 10 of 1000 clients were not served: 3 reset, 7 timeout (after 20s).`
	if notes != want {
		t.Errorf("warnings:\n%s\nwant\n%s", notes, want)
	}
}
