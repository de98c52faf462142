//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

func TestOverloadFlags(t *testing.T) {
	_, p, err := parse(t, "overload")
	if err != nil {
		t.Fatal(err)
	}
	o := &p.Overload
	if fmt.Sprint(o.Patience) != "[500ms 1s 2s 4s]" || fmt.Sprint(o.Loads) != "[1.5 2 5 10]" || o.Key != "rsa2048" || o.Warmup != 10*time.Second || len(o.Servers) != 8 {
		t.Errorf("%+v", o)
	}
	if err := o.check(); err != nil {
		t.Error(err)
	}
	_, p, err = parse(t, "overload", "--patience", "500ms-4s,2s", "--loads", "0.5,3", "--burst")
	if err != nil || fmt.Sprint(p.Overload.Patience) != "[500ms-4s 2s]" || !p.Overload.Burst {
		t.Errorf("%v, %+v", err, p)
	}
	for _, args := range []string{"--patience 0s", "--loads x", "--servers nobody", "--key dsa"} {
		if _, _, err := parse(t, append([]string{"overload"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
	for want, spoil := range map[string]func(*overload){
		"--rounds":   func(o *overload) { o.Rounds = 0 },
		"--duration": func(o *overload) { o.Duration = 0 },
		"--warmup":   func(o *overload) { o.Warmup = -1 },
		"--loads":    func(o *overload) { o.Loads = []float64{2, 0} },
		"--patience": func(o *overload) { o.Patience = nil },
	} {
		o := overload{Rounds: 1, Duration: 1, Loads: []float64{2}, Patience: []load.Patience{{Min: 1, Max: 1}}}
		spoil(&o)
		if err := o.check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want one about %s", err, want)
		}
	}
}

func TestOverloadClient(t *testing.T) {
	m := &overloadMeasurer{overload: &overload{Key: "rsa2048"}}
	got := strings.Join(m.clientArgs(ourselves(t, "x"), 10*time.Second, 5*time.Second, openArgs(1234.56, load.Patience{Min: time.Second, Max: 6 * time.Second})...), " ")
	want := fmt.Sprintf("--tls 1.3 --insecure --curve X25519 --resume none --rate 1234.6 --connections %d --patience 1s-6s --timeout 12s "+
		"--source 127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4 --request / --reset --warmup 10s --duration 5s 127.0.0.1:1", min(16000, load.MaxConnections()))
	if got != want {
		t.Errorf("the client is called with\n%s\nwant\n%s", got, want)
	}
}

// tlsServer gives the one connection that it accepts to f.
func tlsServer(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	k, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := k.certificate()
	if err != nil {
		t.Fatal(err)
	}
	config, err := tlsConfig(cert.certFile, cert.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return probeServer(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if err := s.Handshake(); err != nil {
			t.Error(err)
			return
		}
		f(s)
	})
}

func runRequestProbe(t *testing.T, p *requestProbe) (*probeResult, error) {
	t.Helper()
	conn, raw, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	res := new(probeResult)
	return res, p.measure(conn, raw, res)
}

const echoAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// Like the other probe, it does not wait for an answer before it asks again.
func TestRequestProbeCountsFromTheMomentDue(t *testing.T) {
	const n = 30
	addr := tlsServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for range n { // it has no answer before the last is asked for
			if _, err := http.ReadRequest(r); err != nil {
				t.Error(err)
				return
			}
		}
		answers := strings.Repeat(echoAnswer, n)
		for len(answers) > 0 { // in pieces that are no answers
			piece := answers[:min(len(answers), 17)]
			io.WriteString(c, piece)
			answers = answers[len(piece):]
		}
		io.Copy(io.Discard, c)
	})
	res, err := runRequestProbe(t, &requestProbe{Addr: addr, Interval: 2 * time.Millisecond, Warmup: 20 * time.Millisecond, Duration: 40 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// Number 10 is the first that counts. It was due at 20 ms, and has waited for
	// number 29, at 58 ms. The histogram is exact to a thousandth.
	if res.Probes != n-10 || res.Max < 37*time.Millisecond || res.P50 > res.P99 || res.P99 > res.Max+res.Max/500 {
		t.Errorf("%+v of %d requests of which the first waited for the last", res, n)
	}
}

func TestRequestProbeFails(t *testing.T) {
	for want, answer := range map[string]string{
		"HTTP/1.1 503":                  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"an answer to nothing":          strings.Repeat(echoAnswer, 6),
		"after 1 of 5 answers: EOF":     echoAnswer,
		"answer without Content-Length": "HTTP/1.1 200 OK\r\n\r\n",
		"after 0 of 5 answers: EOF":     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken",
	} {
		addr := tlsServer(t, func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, answer)
			if strings.Contains(want, "EOF") {
				c.(*tls.Conn).CloseWrite()
			}
			io.Copy(io.Discard, c)
		})
		_, err := runRequestProbe(t, &requestProbe{Addr: addr, Interval: time.Millisecond, Duration: 5 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// steady is what came of a load of 100 clients a second.
func steady(factor float64, handshakes, gaveUp, resets int64) *overloadCell {
	c := &overloadCell{Factor: factor, Patience: "2s", Asked: factor * 100, Capacity: 100, PeakRSS: 30e6, Echo: &probeResult{P50: time.Millisecond, P99: 3 * time.Millisecond, Realtime: true}}
	c.Load = &load.Result{
		Handshakes: handshakes, HandshakesPer: float64(handshakes), Duration: 1, Errors: gaveUp + resets,
		ErrorsByKind: map[string]int64{"gave up": gaveUp, "reset": resets}, Latency: load.Percentiles{Count: handshakes, P50: 10_000, P99: 20_000},
		StartDelay: &load.Percentiles{Count: handshakes, P50: 100},
	}
	c.RSS[1] = 20e6
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
	names, patience := []string{"a", "b", "c"}, []load.Patience{{Min: 2 * time.Second, Max: 2 * time.Second}}
	tables := append(overloadTables(names, patience, []float64{2, 5}, results), capacityTable(names, results))
	want := [][]string{
		{
			"[patience 2s asked, /s served, /s of capacity, % p50, ms p99, ms gave up, % reset, % other errors, % echo p50, ms echo p99, ms RSS, MB peak RSS, MB]",
			"[2×: a 200 (200–200) 85.0 (80.0–90.0) 85.0 (80.0–90.0) 10.0 (10.0–10.0) 20.0 (20.0–20.0) 27.5 (0–55.0) 30.0 (0–60.0) 0 (0–0) 1.00 (1.00–1.00) 3.00 (3.00–3.00) 20.0 (20.0–20.0) 30.0 (30.0–30.0)]",
			"[2×: b 200 0 0 – – 100 0 0 1.00 3.00 20.0 30.0]",
			"[5×: b * 500 100 100 10.0 20.0 50.0 20.0 10.0 – – 20.0 30.0]",
		},
		{
			"[at capacity served, /s of capacity, % p50, ms p99, ms",
			"[a 110 (100–120) 110 (100–120) 10.0",
			"[b 50.0 50.0 10.0",
		},
	}
	if len(tables) != len(want) {
		t.Fatalf("%d tables", len(tables))
	}
	for i, w := range want {
		rows := append([][]string{tables[i].Header}, tables[i].Rows...)
		if len(rows) != len(w) {
			t.Errorf("table %d has %d rows, want %d: %v", i, len(rows), len(w), rows)
			continue
		}
		for j := range w {
			if got := fmt.Sprint(rows[j]); !strings.HasPrefix(got, w[j]) {
				t.Errorf("table %d, row %d is %s, want %s", i, j, got, w[j])
			}
		}
	}
}

func TestOverloadWarnings(t *testing.T) {
	want := []string{
		"* The client did not offer the whole load in these rows: ",
		"b, 5×, patience 2s: client busy 0 %, 0 connections at a time, 0 not begun, half were begun 30.0 ms late or later.",
		"b, 5×, patience 2s: the connection that was there before failed: reset by peer.",
		"b, 5×, patience 2s: 50 timeout (too late).",
		"b, 5×, patience 2s: the server has counted: loop_shed_total 7.",
		"b: others (processes, interrupts, the hypervisor) took up to 10 % of its core",
	}
	got := overloadWarnings([]string{"a", "b"}, overloadResults())
	if len(got) != len(want) {
		t.Fatalf("%d warnings: %q", len(got), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	fine := map[string][]*overloadRound{"a": overloadResults()["a"]}
	if got := overloadWarnings([]string{"a"}, fine); got != nil {
		t.Errorf("warnings of nothing: %q", got)
	}
	fine["a"][0].Cells[0].Echo.Realtime = false
	if got := overloadWarnings([]string{"a"}, fine); len(got) != 1 || !strings.Contains(got[0], "SCHED_FIFO") {
		t.Errorf("of an echo without priority: %q", got)
	}
}

func TestConnectionCounts(t *testing.T) {
	got := connectionCounts(map[string]float64{
		"jobloop_shed_total": 1, `jobloop_shed_total{loop="0"}`: 1, "jobloop_backlog_drops_total": 2, "jobloop_turns_total": 5,
		"tlsdemo_handshakes_total": 4, `tlsdemo_handshakes_total{result="full"}`: 4, "go_goroutines": 6,
	})
	want := []string{"jobloop_backlog_drops_total", "jobloop_shed_total", `tlsdemo_handshakes_total{result="full"}`}
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
	return &burstCell{Calm: &loadRound{Load: r}}
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

func TestBurstTables(t *testing.T) {
	c := burstSeries(9, 10, 11, 10, 90, 90, 15, 14, 13, 12, 11, 10)
	c.recover(2, 3)
	c.Patience, c.PeakRSS = "2s", 30e6
	c.Calm.Load.Handshakes, c.Calm.Load.Errors = 90, 10
	c.Calm.Load.ErrorsByKind, c.Calm.OtherCPU = map[string]int64{"gave up": 9, "refused": 1}, time.Second
	c.Burst = &load.Result{Handshakes: 10, Errors: 90, ErrorsByKind: map[string]int64{"gave up": 90}}
	results := map[string][]*overloadRound{"a": {{Capacity: steady(0, 100, 0, 0), Bursts: []*burstCell{c}}}}
	tables := burstTables([]string{"a", "b"}, []load.Patience{{Min: 2 * time.Second, Max: 2 * time.Second}}, results)
	if len(tables) != 1 || len(tables[0].Rows) != 1 || fmt.Sprint(tables[0].Rows[0]) != "[a 0 0 10.0 90.0 10.0 – – 30.0]" {
		t.Errorf("%+v", tables[0])
	}
	want := []string{
		"a, burst, patience 2s, clients that came all the time: 1 refused.",
		"a: others (processes, interrupts, the hypervisor) took up to 17 % of its core: its figures contain that.",
	}
	if got := overloadWarnings([]string{"a"}, results); !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
}
