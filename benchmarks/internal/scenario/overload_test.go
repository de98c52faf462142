//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/internal/load"
)

var twoSeconds = load.Times{Share: 1, Min: 2 * time.Second, Max: 2 * time.Second}

func TestOverloadClient(t *testing.T) {
	m := &overloadMeasurer{overload: &overload{Key: "rsa2048"}}
	got := strings.Join(m.clientArgs(&peer.Server{Addr: "127.0.0.1:1"}, 10*time.Second, 5*time.Second, openArgs(1234.56, load.Times{Share: 1, Min: time.Second, Max: 6 * time.Second})...), " ")
	want := fmt.Sprintf("--tls 1.3 --insecure --curve X25519 --resume none --rate 1234.6 --connections %d --patience 1s-6s --timeout 12s "+
		"--source 127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4 --request / --reset --warmup 10s --duration 5s 127.0.0.1:1", min(16000, load.MaxConnections()))
	if got != want {
		t.Errorf("the client is called with\n%s\nwant\n%s", got, want)
	}
}

// steady is what came of a load of 100 clients a second.
func steady(factor float64, handshakes, gaveUp, resets int64) *overloadCell {
	c := &overloadCell{Factor: factor, Patience: "2s", Asked: factor * 100, Capacity: 100}
	c.PeakRSS, c.Echo = 30e6, &client.ProbeResult{P50: time.Millisecond, P99: 3 * time.Millisecond, Realtime: true}
	c.Load = &load.Result{
		Handshakes: handshakes, HandshakesPer: float64(handshakes), Duration: 1, Errors: gaveUp + resets,
		ErrorsByKind: map[string]int64{"gave up": gaveUp, "reset": resets}, Latency: load.Percentiles{Count: handshakes, P50: 10_000, P99: 20_000},
		StartDelay: &load.Percentiles{Count: handshakes, P50: 100},
	}
	c.Elapsed, c.RSS[1] = time.Second, 20e6
	return c
}

func overloadResults() map[string][]*overloadRound {
	late := steady(5, 100, 300, 100)
	late.Load.StartDelay.P50 = 30_000
	late.Load.ErrorsByKind = map[string]int64{"gave up": 250, "reset": 100, "timeout": 50}
	late.Load.ErrorExamples = map[string]string{"timeout": "too late"}
	late.Echo, late.EchoFailed = nil, "reset\nby peer"
	late.OtherCPU = 100 * time.Millisecond
	late.ServerCount = map[string]float64{"tlsdemo_loop_shed_total": 7, "tlsdemo_loop_gone_total": 0}
	return map[string][]*overloadRound{
		"a": {{Capacity: steady(0, 100, 0, 0), Cells: []*overloadCell{steady(2, 90, 110, 0)}}, {Capacity: steady(0, 120, 0, 0), Cells: []*overloadCell{steady(2, 80, 0, 120)}}},
		"b": {{Capacity: steady(0, 50, 0, 0), Cells: []*overloadCell{steady(2, 0, 200, 0), late}}},
	}
}

func TestOverloadTables(t *testing.T) {
	results := overloadResults()
	names := []string{"a", "b", "c"}
	wantPrefixes(t, rowsOf(overloadTable(names, twoSeconds, []float64{2, 5}, results)), []string{
		"patience 2s asked, /s served, /s of capacity, % p50, ms p99, ms gave up, % reset, % other errors, % echo p50, ms echo p99, ms RSS, MB peak RSS, MB",
		"2×: a 200 (200–200) 85.0 (80.0–90.0) 85.0 (80.0–90.0) 10.0 (10.0–10.0) 20.0 (20.0–20.0) 27.5 (0–55.0) 30.0 (0–60.0) 0 (0–0) 1.00 (1.00–1.00) 3.00 (3.00–3.00) 20.0 (20.0–20.0) 30.0 (30.0–30.0)",
		"2×: b 200 0 0 – – 100 0 0 1.00 3.00 20.0 30.0",
		"5×: b * 500 100 100 10.0 20.0 50.0 20.0 10.0 – – 20.0 30.0",
	})
	wantPrefixes(t, rowsOf(capacityTable(names, results)), []string{
		"at capacity served, /s of capacity, % p50, ms p99, ms",
		"a 110 (100–120) 110 (100–120) 10.0",
		"b 50.0 50.0 10.0",
	})
}

func TestOverloadWarnings(t *testing.T) {
	warnings := func(results map[string][]*overloadRound) []string {
		r := newRun(t)
		r.noteOverload([]string{"a", "b"}, results)
		return r.Notes
	}
	results := overloadResults()
	wantPrefixes(t, warnings(results), []string{
		"* The client did not offer the whole load in these rows: ",
		"b, 5×, patience 2s: client busy 0 %, 0 connections at a time, 0 not begun, half were begun 30.0 ms late or later.",
		"b, 5×, patience 2s: 50 timeout (too late).",
		"b, 5×, patience 2s: the connection that was there before failed: reset by peer.",
		"b, 5×, patience 2s: the server has counted: loop_shed_total 7.",
		"b: others (processes, interrupts, the hypervisor) took up to 10 % of the server's core",
	})
	fine := map[string][]*overloadRound{"a": results["a"]}
	wantPrefixes(t, warnings(fine), nil)
	fine["a"][0].Cells[0].Echo.Realtime = false
	wantPrefixes(t, warnings(fine), []string{"Echo: the system did not let the probe go before the other clients (SCHED_FIFO)."})
}

func TestConnectionCounts(t *testing.T) {
	got := connectionCounts(map[string]float64{
		"jobloop_shed_total": 1, `jobloop_shed_total{loop="0"}`: 1, "jobloop_backlog_drops_total": 2, "jobloop_turns_total": 5,
		"jobloop_handshakes_total": 4, `jobloop_handshakes_total{result="full"}`: 4, "go_goroutines": 6,
	})
	want := []string{"jobloop_backlog_drops_total", `jobloop_handshakes_total{result="full"}`, "jobloop_shed_total"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if text := countsText(map[string]float64{"tlsdemo_b": 2, "jobloop_a": 1, "tlsdemo_c": 0}); text != "a 1, b 2" {
		t.Errorf("told as %q", text)
	}
}

// burstSeries is a run with a burst from second 2 to second 3: p99 of each half
// second is given, in milliseconds; -1 is one in which clients left.
func burstSeries(p99 ...int64) *burstCell {
	r := &load.Result{Duration: float64(len(p99)) / 2}
	r.Series = append(r.Series, load.Point{At: -0.5, Length: 0.25, Handshakes: 10, P99: 1e6})
	for i, ms := range p99 {
		for part := range 2 {
			p := load.Point{At: float64(i)/2 + float64(part)/4, Length: 0.25, Handshakes: 10, P99: 1000 * ms / int64(1+part)}
			if ms < 0 {
				p.P99, p.Errors = 1000, int64(part)
			}
			r.Series = append(r.Series, p)
		}
	}
	r.Series = append(r.Series, load.Point{At: r.Duration, Length: 0.25, Handshakes: 1, P99: 9e6}) // those that were in progress
	return &burstCell{Calm: &client.Loaded{Load: r, Watched: client.Watched{Elapsed: time.Duration(r.Duration * float64(time.Second))}}}
}

func TestRecovery(t *testing.T) {
	for _, test := range []struct {
		name       string
		p99        []int64
		recovered  float64 // -1: not
		lastFailed float64
	}{
		{"at once", []int64{9, 10, 11, 10, 90, 90, 15, 14, 13, 12, 11, 10}, 0, 0},
		{"after a second", []int64{9, 10, 11, 10, 90, -1, 90, 16, 15, 12, 11, 10}, 1, 0},
		{"when nobody leaves any more", []int64{9, 10, 11, 10, 90, -1, -1, 10, -1, 12, 11, 10, 10}, 1.5, 1.5},
		{"one slow half second is no end", []int64{9, 10, 11, 10, 90, 90, 10, 10, 10, 10, 30, 10, 10, 10}, 0, 0},
		{"too slow for ever", []int64{9, 10, 11, 10, 90, 90, 90, 16, 16, 16, 16, 16}, -1, 0},
		{"not seen long enough", []int64{9, 10, 11, 10, 90, 90, 90, 10, 10, 10}, -1, 0},
		{"a millisecond more is nothing", []int64{1, 1, 1, 1, 90, 90, 2, 2, 2, 2}, 0, 0},
	} {
		c := burstSeries(test.p99...)
		c.recover(2, 3)
		got := -1.0
		if c.Recovered != nil {
			got = *c.Recovered
		}
		if got != test.recovered || c.LastFailed != test.lastFailed {
			t.Errorf("%s: recovered after %v s, the last failed after %v s, want %v and %v", test.name, got, c.LastFailed, test.recovered, test.lastFailed)
		}
	}
	none := burstSeries(-1, -1)
	none.Calm.Load.Series = nil
	none.recover(2, 3)
	if none.Recovered != nil || none.Before != 0 {
		t.Errorf("of nothing: %+v", none)
	}
}

func TestBurstTable(t *testing.T) {
	c := burstSeries(9, 10, 11, 10, 90, 90, 15, 14, 13, 12, 11, 10)
	c.recover(2, 3)
	c.Patience, c.PeakRSS = "2s", 30e6
	c.Calm.Load.Handshakes, c.Calm.Load.Errors = 90, 10
	c.Calm.Load.ErrorsByKind, c.Calm.OtherCPU = map[string]int64{"gave up": 9, "refused": 1}, time.Second
	c.Burst = &load.Result{Handshakes: 10, Errors: 90, ErrorsByKind: map[string]int64{"gave up": 90}}
	results := map[string][]*overloadRound{"a": {{Capacity: steady(0, 100, 0, 0), Bursts: []*burstCell{c}}}}
	wantPrefixes(t, rowsOf(burstTable([]string{"a", "b"}, twoSeconds, results))[1:], []string{"a 0 0 10.0 90.0 10.0 – – 30.0"})
	r := newRun(t)
	r.noteOverload([]string{"a"}, results)
	wantPrefixes(t, r.Notes, []string{
		"a, burst, patience 2s, clients that came all the time: 1 refused.",
		"a: others (processes, interrupts, the hypervisor) took up to 17 % of the server's core",
	})
}

// Where nothing else failed, the share of other errors is 0, and not what the
// rounding of the other shares leaves.
func TestOtherErrors(t *testing.T) {
	for reset := range int64(200) {
		c := &overloadCell{Loaded: client.Loaded{Load: &load.Result{Handshakes: 77, Errors: reset, ErrorsByKind: map[string]int64{"reset": reset}}}}
		if got := c.otherErrors(); got != 0 {
			t.Fatalf("with %d resets: %v", reset, got)
		}
	}
}
