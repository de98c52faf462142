//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// saturated is a round whose load at saturation had this rate, server and client
// as busy as that.
func saturated(rate, busy, clientBusy float64) *handshakeRound {
	return &handshakeRound{Saturation: &loadRound{
		Load:      &load.Result{Handshakes: int64(rate), HandshakesPer: rate, Duration: 1, Client: load.Client{Busy: clientBusy}},
		ServerCPU: seconds(busy),
	}}
}

// onSchedule is a load by schedule.
func onSchedule(asked, served float64, errors int64, p99 int64) *openRound {
	return &openRound{loadRound{Load: &load.Result{
		Handshakes: int64(served), HandshakesPer: served, Duration: 1, Errors: errors, Latency: load.Percentiles{Count: int64(served), P50: p99 / 2, P99: p99, Max: 2 * p99},
		MaxInFlight: 999,
	}}, asked, 1000}
}

func TestHandshakeTables(t *testing.T) {
	first, second, peer := saturated(50, 0.5, 0.2), saturated(100, 1, 0.3), saturated(100, 0.2, 0.95)
	first.Half, second.Half, peer.Half = onSchedule(25, 25, 0, 2000), onSchedule(50, 50, 0, 4000), onSchedule(50, 50, 0, 6000)
	first.Twice, second.NotTwice = onSchedule(100, 50, 150, 8000), "too busy"
	peer.Twice = onSchedule(200, 0, 200, 0)
	r := &handshakeResults{
		What:    combination{"rsa2048", "1.3", "full"},
		Servers: []string{nameJobloop, nameNginx, nameHAProxy},
		Rounds: map[string][]*handshakeRound{
			nameJobloop: {first, second},
			nameNginx:   {peer},
			nameHAProxy: {{Failed: "not resumed"}},
		},
	}
	tables := r.tables()
	if len(tables) != 2 {
		t.Fatalf("%d tables", len(tables))
	}
	for i, want := range [][]string{
		{
			"[rsa2048, TLS 1.3, full handshakes/s server CPU, µs each server busy, % client busy, %",
			"[jobloop 75.0 (50.0–100) 10000 (10000–10000) 75.0 (50.0–100) 25.0 (20.0–30.0)",
			"[nginx 100 2000 20.0 95.0",
			"[haproxy – – – –",
			"[jobloop / nginx 0.75 5.00",
			"[jobloop / haproxy – –",
		},
		{
			"[rsa2048, TLS 1.3, full asked, /s served, /s failed, % p50, ms p99, ms max, ms]",
			"[half: jobloop 37.5 (25.0–50.0) 37.5 (25.0–50.0) 0 (0–0) 1.50 (1.00–2.00) 3.00 (2.00–4.00) 6.00 (4.00–8.00)]",
			"[half: nginx 50.0 50.0 0 3.00 6.00 12.0]",
			"[half: jobloop / nginx 0.75 0.75 – 0.50 0.50 0.50]",
			"[twice: jobloop 100 50.0 75.0 4.00 8.00 16.0]",
			"[twice: nginx 200 0 100 – – –]",
			"[twice: jobloop / nginx 0.50 – 0.75 – – –]",
		},
	} {
		rows := append([][]string{tables[i].Header}, tables[i].Rows...)
		if len(rows) != len(want) {
			t.Errorf("table %d has %d rows, want %d: %v", i, len(rows), len(want), rows)
			continue
		}
		for j := range want {
			if got := fmt.Sprint(rows[j]); !strings.HasPrefix(got, want[j]) {
				t.Errorf("table %d, row %d is %s, want %s", i, j, got, want[j])
			}
		}
	}
}

func TestHandshakeWarnings(t *testing.T) {
	fine, slowClient, idle, disturbed := saturated(100, 0.99, 0.5), saturated(100, 0.5, 0.95), saturated(100, 0.5, 0.5), saturated(100, 0.9, 0.5)
	disturbed.Saturation.OtherCPU = 100 * time.Millisecond
	slowClient.NotTwice = "too busy"
	slowClient.Half = onSchedule(50, 50, 0, 1000)
	fine.Half = onSchedule(50, 50, 0, 1000)
	idle.Half = onSchedule(50, 50, 0, 1000)
	idle.Half.Load.Client.Busy = 0.95
	idle.Half.Load.Errors, idle.Half.Load.NotBegun = 3, 3
	warned := saturated(100, 0.99, 0.5)
	warned.Twice = onSchedule(200, 100, 100, 1000)
	warned.Twice.Load.MaxInFlight = 1000
	warned.Saturation.Load.Warnings = []string{"the client was busy for 91 % of the time"}
	warned.Twice.Load.Warnings = []string{"all 1000 connections were in use at times", "1 % were begun 12ms late", "1 % were begun 34ms late", "the server has declined"}
	alike := saturated(100, 0.99, 0.5)
	alike.NotTwice = slowClient.NotTwice
	r := &handshakeResults{
		What:    combination{"rsa2048", "1.3", "full"},
		Servers: []string{"a", "b", "c", "d", "e", "f"},
		Rounds:  map[string][]*handshakeRound{"a": {fine}, "b": {fine, slowClient, slowClient}, "c": {idle}, "d": {disturbed}, "e": {warned}, "f": {alike, alike}},
	}
	want := []string{
		"rsa2048, TLS 1.3, full, b: the server's core was idle at times while the client's was not: the client was the limit, and handshakes/s and latency are the client's, and half and twice are so of the client's rate.",
		"rsa2048, TLS 1.3, full, b, f: twice the rate was SKIPPED in 2 rounds: too busy.",
		"rsa2048, TLS 1.3, full, c: in 1 of 1 rounds the server's core was idle at times, and so was the client's",
		"rsa2048, TLS 1.3, full, c: in 1 loads by schedule the client's core was 90 % busy or more",
		"rsa2048, TLS 1.3, full, c: at half the rate the client did not begin 3 handshakes in time",
		"rsa2048, TLS 1.3, full, d: others (processes, interrupts, the hypervisor) took up to 10 % of the core in a round",
		"rsa2048, TLS 1.3, full, e: in 1 loads by schedule the client had no connection left at times (there are 1000): clients then waited for one, too, and longer than 2s.",
		"rsa2048, TLS 1.3, full, e: the client warns, at twice its rate: 1 % were begun 12ms late",
		"rsa2048, TLS 1.3, full, e: the client warns, at twice its rate: the server has declined",
	}
	got := r.warnings(64)
	if len(got) != len(want) {
		t.Fatalf("%d warnings: %q", len(got), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	if alone := strings.Join(r.warnings(1), "\n"); strings.Contains(alone, "idle") {
		t.Errorf("of a client that is alone: %s", alone)
	}
}

func TestHandshakeErrors(t *testing.T) {
	lost := saturated(100, 1, 0.5)
	lost.Saturation.Load.Errors = 2
	lost.Saturation.Load.ErrorsByKind = map[string]int64{"reset": 1, "eof": 1}
	lost.Saturation.Load.ErrorExamples = map[string]string{"reset": "reset by peer", "eof": "EOF"}
	slow := saturated(100, 1, 0.5)
	slow.Half = onSchedule(50, 49, 1, 1000)
	nothing := saturated(0, 1, 0.5)
	overload := saturated(100, 1, 0.5)
	overload.Twice = onSchedule(200, 0, 200, 0)
	overload.Half = onSchedule(50, 49, 1, 1000)
	overload.Half.Load.NotBegun = 1
	r := &handshakeResults{
		What:    combination{"rsa2048", "1.3", "full"},
		Servers: []string{"a", "b", "c"},
		Rounds:  map[string][]*handshakeRound{"a": {overload, lost}, "b": {slow, {Failed: "not resumed"}}, "c": {nothing}},
	}
	want := `rsa2048, TLS 1.3, full, a, round 2: 2 handshakes failed, 100 succeeded: 1 eof (EOF), 1 reset (reset by peer)
rsa2048, TLS 1.3, full, b, round 1: at half its rate: 1 handshakes failed, 49 succeeded
rsa2048, TLS 1.3, full, b, round 2: not resumed
rsa2048, TLS 1.3, full, c, round 1: 0 handshakes failed, 0 succeeded`
	if err := errors.Join(r.errors()...); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	r.Rounds = map[string][]*handshakeRound{"a": {overload}}
	if errs := r.errors(); errs != nil {
		t.Errorf("failures at twice the rate are errors: %v", errs)
	}
}

// roundWith measures a round with a client that says that its result is this,
// and returns how the client was called, too.
func roundWith(t *testing.T, before []*handshakeRound, result string) (r *handshakeRound, calls []string, err error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	h := &handshakes{
		options: options{ClientCPU: -1, ServerCPU: -1}, Clients: 64, Warmup: 100 * time.Millisecond, Duration: time.Second, Request: true, Load: []string{"half", "twice"},
		program: fakeLoad(t, "echo \"$@\" >> "+log+"\n"+fmt.Sprintf(measuredNow, result)),
	}
	l := loader{h, combination{"rsa2048", "1.3", "full"}, ourselves(t, "x"), &certificate{sha256: "cafe"}, new(agreement)}
	r, err = l.round(t.Context(), before)
	b, rerr := os.ReadFile(log)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return r, strings.Split(strings.TrimSpace(string(b)), "\n"), err
}

const goodJSON = `"handshakes": 5, "handshakes_per_s": 1000, "certificates": [{"sha256": "cafe", "handshakes": 5}],
	"negotiated": [{"version": "TLS 1.3", "cipher": "C", "handshakes": 5}], "latency_distribution": [{}]`

func TestHandshakeRound(t *testing.T) {
	r, calls, err := roundWith(t, []*handshakeRound{saturated(3000, 1, 0.5)}, goodJSON)
	if err != nil {
		t.Fatal(err)
	}
	const half, twice = " --warmup 100ms --duration 1s --request / 127.0.0.1:1", " --warmup 5s --duration 1s --request / 127.0.0.1:1"
	most := fmt.Sprintf(" --connections %d --timeout 2s --reset", min(16000, load.MaxConnections()))
	begin := "load --quiet --json - --tls 1.3 --insecure --curve X25519 --resume none"
	want := []string{
		begin + " --connections 64 --reset" + half,
		begin + " --rate 1000.0" + most + half, // half of the median, 2000
		begin + " --rate 4000.0" + most + twice,
	}
	if fmt.Sprint(calls) != fmt.Sprint(want) {
		t.Errorf("calls\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
	}
	if r.Half == nil || r.Half.Asked != 1000 || r.Twice == nil || r.Twice.Asked != 4000 || r.Saturation.Load.Series != nil || r.Saturation.Load.Distribution != nil {
		t.Errorf("%+v", r)
	}
	r, calls, err = roundWith(t, nil, goodJSON+`, "client": {"busy": 0.8}`)
	if err != nil || len(calls) != 2 || r.Twice != nil || !strings.Contains(r.NotTwice, "65 % busy") {
		t.Errorf("with a busy client: %+v, %q, %v", r, calls, err)
	}
	_, _, err = roundWith(t, nil, strings.Replace(goodJSON, "cafe", "beef", 1))
	if err == nil || !strings.Contains(err.Error(), "beef") {
		t.Errorf("with another server's certificate: %v", err)
	}
	r, calls, err = roundWith(t, nil, `"handshakes": 0`)
	if err != nil || len(calls) != 1 || r.Failed != "" {
		t.Errorf("without any handshake: %+v, %q, %v", r, calls, err)
	}
}

// A server whose sessions cannot be resumed is an error in its row, and not the
// end of the run.
func TestRoundFails(t *testing.T) {
	for _, script := range []string{
		fmt.Sprintf(measuredNow, goodJSON), // full handshakes
		"echo 'no session tickets' >&2; exit 1",
		`echo '{"stopped": "out of descriptors"}'; exit 1`,
	} {
		h := &handshakes{options: options{ClientCPU: -1, ServerCPU: -1}, Clients: 64, program: fakeLoad(t, script)}
		l := loader{h, combination{"rsa2048", "1.3", "resumed"}, ourselves(t, "x"), &certificate{sha256: "cafe"}, new(agreement)}
		r, err := l.round(t.Context(), nil)
		if err != nil || r.Failed == "" || r.Saturation != nil {
			t.Errorf("%s: %+v, %v", script, r, err)
		}
		l.program = fakeLoad(t, "exit 2")
		if _, err := l.round(t.Context(), nil); err == nil {
			t.Error("no error of a wrong command line")
		}
	}
}

func TestOverloadWarmup(t *testing.T) {
	for _, tt := range []struct {
		quick        bool
		warmup, want time.Duration
	}{{false, time.Second, 5 * time.Second}, {false, time.Minute, time.Minute}, {true, time.Millisecond, time.Millisecond}} {
		h := &handshakes{options: options{Quick: tt.quick}, Warmup: tt.warmup}
		if got := h.overloadWarmup(); got != tt.want {
			t.Errorf("--quick %t, --warmup %v: %v before twice the rate, want %v", tt.quick, tt.warmup, got, tt.want)
		}
	}
}

func TestHandshakesCheck(t *testing.T) {
	good := handshakes{Clients: 1, Rounds: 1, Duration: 1, Load: []string{"half", "twice"}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for flag, spoil := range map[string]func(*handshakes){
		"--clients":  func(h *handshakes) { h.Clients = 0 },
		"--rounds":   func(h *handshakes) { h.Rounds = 0 },
		"--duration": func(h *handshakes) { h.Duration = 0 },
		"--warmup":   func(h *handshakes) { h.Warmup = -1 },
		"--load":     func(h *handshakes) { h.Load = []string{"none", "half"} },
	} {
		h := good
		spoil(&h)
		if err := h.check(); err == nil || !strings.HasPrefix(err.Error(), flag+": ") {
			t.Errorf("%s: error %v", flag, err)
		}
	}
}

func TestOneClientHasNoLoads(t *testing.T) {
	h := &handshakes{Clients: 1, Load: []string{"half"}}
	if h.has("half") {
		t.Error("a single client's rate is taken for saturation")
	}
	h.Clients = 2
	if !h.has("half") || h.has("twice") {
		t.Error("--load is not kept to")
	}
}
