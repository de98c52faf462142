//go:build linux

package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/internal/load"
)

// saturated is a round whose load at saturation had this rate, server and client
// as busy as that.
func saturated(rate, busy, clientBusy float64) *handshakeRound {
	return &handshakeRound{Open: make(map[string]*openRound), Saturation: &client.Loaded{
		Load:    &load.Result{Handshakes: int64(rate), HandshakesPer: rate, Duration: 1, Client: load.Client{Busy: clientBusy}},
		Watched: client.Watched{Elapsed: time.Second, ServerCPU: time.Duration(busy * float64(time.Second))},
	}}
}

// onSchedule is a load by schedule.
func onSchedule(asked, served float64, errors int64, p99 int64) *openRound {
	return &openRound{client.Loaded{Load: &load.Result{
		Handshakes: int64(served), HandshakesPer: served, Duration: 1, Errors: errors, Latency: load.Percentiles{Count: int64(served), P50: p99 / 2, P99: p99, Max: 2 * p99},
		MaxInFlight: 999,
	}}, asked, 1000}
}

func TestHandshakeTables(t *testing.T) {
	first, second, peer := saturated(50, 0.5, 0.2), saturated(100, 1, 0.3), saturated(100, 0.2, 0.95)
	first.Open["half"], second.Open["half"], peer.Open["half"] = onSchedule(25, 25, 0, 2000), onSchedule(50, 50, 0, 4000), onSchedule(50, 50, 0, 6000)
	first.Open["twice"], second.NotTwice = onSchedule(100, 50, 150, 8000), "too busy"
	peer.Open["twice"] = onSchedule(200, 0, 200, 0)
	r := &handshakeResults{client.Full("rsa2048"), []string{"jobloop", "nginx", "haproxy"}, map[string][]*handshakeRound{
		"jobloop": {first, second}, "nginx": {peer}, "haproxy": {{Failed: "not resumed"}},
	}}
	tables := r.tables()
	if len(tables) != 2 {
		t.Fatalf("%d tables", len(tables))
	}
	wantPrefixes(t, rowsOf(tables[0]), []string{
		"rsa2048, TLS 1.3, full handshakes/s server CPU, µs each server busy, % client busy, %",
		"jobloop 75.0 (50.0–100) 10000 (10000–10000) 75.0 (50.0–100) 25.0 (20.0–30.0)",
		"nginx 100 2000 20.0 95.0",
		"haproxy – – – –",
		"jobloop / nginx 0.75 5.00",
		"jobloop / haproxy – –",
	})
	wantPrefixes(t, rowsOf(tables[1]), []string{
		"rsa2048, TLS 1.3, full asked, /s served, /s failed, % p50, ms p99, ms max, ms",
		"half: jobloop 37.5 (25.0–50.0) 37.5 (25.0–50.0) 0 (0–0) 1.50 (1.00–2.00) 3.00 (2.00–4.00) 6.00 (4.00–8.00)",
		"half: nginx 50.0 50.0 0 3.00 6.00 12.0",
		"half: jobloop / nginx 0.75 0.75 – 0.50 0.50 0.50",
		"twice: jobloop 100 50.0 75.0 4.00 8.00 16.0",
		"twice: nginx 200 0 100 – – –",
		"twice: jobloop / nginx 0.50 – 0.75 – – –",
	})
}

func TestHandshakeWarnings(t *testing.T) {
	fine, slowClient, idle, disturbed := saturated(100, 0.99, 0.5), saturated(100, 0.5, 0.95), saturated(100, 0.5, 0.5), saturated(100, 0.9, 0.5)
	disturbed.Saturation.OtherCPU = 100 * time.Millisecond
	slowClient.NotTwice = "too busy"
	for _, r := range []*handshakeRound{slowClient, fine, idle} {
		r.Open["half"] = onSchedule(50, 50, 0, 1000)
	}
	idle.Open["half"].Load.Client.Busy = 0.95
	idle.Open["half"].Load.Errors, idle.Open["half"].Load.NotBegun = 3, 3
	warned := saturated(100, 0.99, 0.5)
	warned.Open["twice"] = onSchedule(200, 100, 100, 1000)
	warned.Open["twice"].Load.MaxInFlight = 1000
	warned.Saturation.Load.Warnings = []string{"the client was busy for 91 % of the time"}
	warned.Open["twice"].Load.Warnings = []string{"all 1000 connections were in use at times", "1 % were begun 12ms late", "1 % were begun 34ms late", "the server has declined"}
	alike := saturated(100, 0.99, 0.5)
	alike.NotTwice = slowClient.NotTwice
	r := &handshakeResults{client.Full("rsa2048"), []string{"a", "b", "c", "d", "e", "f"}, map[string][]*handshakeRound{
		"a": {fine}, "b": {fine, slowClient, slowClient}, "c": {idle}, "d": {disturbed}, "e": {warned}, "f": {alike, alike},
	}}
	wantPrefixes(t, r.warnings(64), []string{
		"rsa2048, TLS 1.3, full, b: the server's core was idle at times while the client's was not. The client was the limit: handshakes/s and latency are the client's, and half and twice are parts of the client's rate.",
		"rsa2048, TLS 1.3, full, b, f: twice the rate was SKIPPED in 2 rounds: too busy.",
		"rsa2048, TLS 1.3, full, c: in 1 of 1 rounds the server's core was idle at times, and so was the client's",
		"rsa2048, TLS 1.3, full, c: in 1 loads by schedule the client's core was 90 % busy or more",
		"rsa2048, TLS 1.3, full, c: at half the rate the client did not begin 3 handshakes in time",
		"rsa2048, TLS 1.3, full, d: others (processes, interrupts, the hypervisor) took up to 10 % of the server's core in a round",
		"rsa2048, TLS 1.3, full, e: in 1 loads by schedule all 1000 connections of the client were in use at times. Clients then waited for one, too, and longer than 2s.",
		"rsa2048, TLS 1.3, full, e: the client warns, at twice its rate: 1 % were begun 12ms late",
		"rsa2048, TLS 1.3, full, e: the client warns, at twice its rate: the server has declined",
	})
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
	slow.Open["half"] = onSchedule(50, 49, 1, 1000)
	overload := saturated(100, 1, 0.5)
	overload.Open["twice"] = onSchedule(200, 0, 200, 0)
	overload.Open["half"] = onSchedule(50, 49, 1, 1000)
	overload.Open["half"].Load.NotBegun = 1
	r := &handshakeResults{client.Full("rsa2048"), []string{"a", "b", "c"}, map[string][]*handshakeRound{
		"a": {overload, lost}, "b": {slow, {Failed: "not resumed"}}, "c": {saturated(0, 1, 0.5)},
	}}
	want := `rsa2048, TLS 1.3, full, a, round 2: 2 handshakes failed, 100 succeeded: 1 eof (EOF), 1 reset (reset by peer)
rsa2048, TLS 1.3, full, b, at half its rate, round 1: 1 handshakes failed, 49 succeeded
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

// A round is a load at saturation, and then one by each schedule, at a part of the
// median rate.
func TestHandshakeRound(t *testing.T) {
	r := newRun(t)
	kind := client.Full("ecdsa-p256")
	h := &handshakes{Clients: 64, Warmup: 100 * time.Millisecond, Duration: time.Second, Request: true, Load: []string{"half", "twice"}}
	withServer(t, r, kind.Key, func(s *peer.Server) {
		round := func(kind client.Kind, res *load.Result, before ...*handshakeRound) (*handshakeRound, []string, error) {
			calls := r.fakeLoad(t, res)
			round, err := (&loader{h, r, kind, s}).round(t.Context(), before)
			return round, calls(), err
		}
		got, calls, err := round(kind, goodLoad(s, 1000), saturated(3000, 1, 0.5))
		if err != nil {
			t.Fatal(err)
		}
		begin := "load --quiet --json - --tls 1.3 --insecure --curve X25519 --resume none"
		most := fmt.Sprintf(" --connections %d --timeout 2s", min(16000, load.MaxConnections()))
		want := []string{
			begin + " --connections 64 --warmup 100ms --duration 1s --request / --reset " + s.Addr,
			begin + " --rate 1000.0" + most + " --warmup 100ms --duration 1s --request / --reset " + s.Addr, // half of the median, 2000
			begin + " --rate 4000.0" + most + " --warmup 5s --duration 1s --request / --reset " + s.Addr,
		}
		if strings.Join(calls, "\n") != strings.Join(want, "\n") {
			t.Errorf("calls\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
		}
		if half, twice := got.Open["half"], got.Open["twice"]; half == nil || half.Asked != 1000 || twice == nil || twice.Asked != 4000 {
			t.Errorf("%+v", got)
		}

		busy := goodLoad(s, 1000)
		busy.Client.Busy = 0.8
		if got, calls, err = round(kind, busy); err != nil || len(calls) != 2 || got.Open["twice"] != nil || !strings.Contains(got.NotTwice, "65 % busy") {
			t.Errorf("with a busy client: %+v, %q, %v", got, calls, err)
		}
		if got, calls, err = round(kind, new(load.Result)); err != nil || len(calls) != 1 || got.Failed != "" {
			t.Errorf("without any handshake: %+v, %q, %v", got, calls, err)
		}
		other := goodLoad(s, 1000)
		other.Certificates[0].SHA256 = "beef"
		if _, _, err = round(kind, other); err == nil || !strings.Contains(err.Error(), "beef") {
			t.Errorf("with another server's certificate: %v", err)
		}

		// These are errors in a row, and not the end of the run.
		if got, _, err = round(client.Kind{Key: kind.Key, TLS: "1.3", Resume: "resumed"}, goodLoad(s, 1000)); err != nil || got.Failed == "" {
			t.Errorf("a server whose sessions cannot be resumed: %+v, %v", got, err)
		}
		if got, _, err = round(kind, &load.Result{Stopped: "out of descriptors"}); err != nil || got.Failed == "" || got.Saturation != nil {
			t.Errorf("a load that ended early: %+v, %v", got, err)
		}
	})
}

func TestHandshakeWarmup(t *testing.T) {
	for _, tt := range []struct {
		quick        bool
		warmup, want time.Duration
	}{{false, time.Second, 5 * time.Second}, {false, time.Minute, time.Minute}, {true, time.Millisecond, time.Millisecond}} {
		h := &handshakes{Warmup: tt.warmup}
		if got := h.warmup("twice", tt.quick); got != tt.want {
			t.Errorf("--quick %t, --warmup %v: %v before twice the rate, want %v", tt.quick, tt.warmup, got, tt.want)
		}
		if got := h.warmup("half", tt.quick); got != tt.warmup {
			t.Errorf("--warmup %v: %v before half the rate", tt.warmup, got)
		}
	}
}

func TestOneClientHasNoSchedules(t *testing.T) {
	h := &handshakes{Clients: 1, Load: []string{"half"}}
	if h.has("half") {
		t.Error("a single client's rate is taken for saturation")
	}
	h.Clients = 2
	if !h.has("half") || h.has("twice") {
		t.Error("--load is not kept to")
	}
}
