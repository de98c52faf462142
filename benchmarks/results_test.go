//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseMetrics(t *testing.T) {
	in := `# HELP jobloop_connections Open connections.
# TYPE jobloop_connections gauge
jobloop_connections{loop="0"} 3
jobloop_connections{loop="1"} 4
tlsdemo_handshakes_total{result="a} b",version="1.3"} 1e+06 1700000000

go_goroutines 17
`
	m, err := parseMetrics(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"jobloop_connections": 7, `jobloop_connections{loop="1"}`: 4, "tlsdemo_handshakes_total": 1e6,
		`tlsdemo_handshakes_total{result="a} b",version="1.3"}`: 1e6, "go_goroutines": 17,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s = %v, %t, want %v", name, got, ok, want)
		}
	}
	for _, bad := range []string{"name", "name{a=\"b\"}", "name x"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

const wrkOutput = `Running 1s test @ https://127.0.0.1:8443/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   402.11us  310.20us   4.11ms   88.11%
    Req/Sec   118.62k     2.09k  121.18k    80.00%
  Latency Distribution
     50%  404.00us
     75%  540.00us
     90%    1.10ms
     99%    2.66ms
  118040 requests in 1.00s, 34.56MB read
  Socket errors: connect 0, read 3, write 0, timeout 0
Requests/sec: 118040.12
Transfer/sec:     34.55MB
`

func TestParseWrk(t *testing.T) {
	r, err := parseWrk([]byte(wrkOutput))
	if err != nil {
		t.Fatal(err)
	}
	want := requestResult{
		Requests: 118040, Rate: 118040.12, P50: 404 * time.Microsecond, P99: 2660 * time.Microsecond,
		Trouble: "Socket errors: connect 0, read 3, write 0, timeout 0",
	}
	if *r != want {
		t.Errorf("%+v, want %+v", *r, want)
	}
	if err := requestErrors([]string{"x"}, map[string][]*requestResult{"x": {r}}); err == nil || !strings.Contains(err.Error(), "read 3") {
		t.Errorf("trouble is not told: %v", err)
	}
	if _, err := parseWrk([]byte("unable to connect to 127.0.0.1:8443 Connection refused\n")); err == nil {
		t.Error("no error of a failed run")
	}
}

func TestRequestWarnings(t *testing.T) {
	results := map[string][]*requestResult{
		"x": {{Elapsed: time.Second, ClientCPU: 890 * time.Millisecond}, {Elapsed: time.Second, ClientCPU: 910 * time.Millisecond}},
		"y": {{Elapsed: time.Second, ClientCPU: 500 * time.Millisecond}},
	}
	got := requestWarnings([]string{"x", "y"}, results)
	if len(got) != 1 || !strings.HasPrefix(got[0], "x: in 1 of 2 rounds wrk used 90 % of a core or more: it was the limit") {
		t.Errorf("%q", got)
	}
}

func TestMeasuringArgs(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "",
		"storm --quick --server-cpu=1":      "storm --quick --server-cpu=1",
		"storm --out dir --clients 5":       "storm --clients 5",
		"storm --json=x --clients 5 --out":  "storm --clients 5",
		"--out=dir idle --outer --json x y": "idle --outer y",
	} {
		if got := strings.Join(measuringArgs(strings.Fields(line)), " "); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func TestSoakCheck(t *testing.T) {
	before := soakState{RSS: 20 << 20, Descriptors: 13, Goroutines: 11, Started: 100}
	tests := []struct {
		name  string
		leave func(before, after *soakState)
		want  string // in the error; none if empty
	}{
		{"nothing", func(_, after *soakState) { after.Started = 1000 }, ""},
		{"less than before", func(_, after *soakState) { after.Goroutines = 9 }, ""},
		{"a descriptor", func(_, after *soakState) { after.Descriptors++ }, "descriptors: 13 before, 14 after"},
		{"a goroutine", func(_, after *soakState) { after.Goroutines++ }, "goroutines: 11 before, 12 after"},
		{"a connection", func(_, after *soakState) { after.Connections++ }, "connections"},
		{"a job", func(_, after *soakState) { after.JobsPaused++; after.JobsAlive++ }, "jobs paused"},
		{"a coroutine", func(_, after *soakState) { after.PoolSize++ }, "coroutines"},
		{"a panic", func(_, after *soakState) { after.Panicked++ }, "1 jobs panicked"},
		{"memory", func(_, after *soakState) { after.RSS *= 5 }, "memory grew from 20 to 100 MB"},
		{"the first client's connection", func(before, after *soakState) { before.Connections++; after.Connections++ }, "first client"},
	}
	for _, tt := range tests {
		r := &soakResult{Before: before, After: before}
		tt.leave(&r.Before, &r.After)
		err := r.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s left: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestTail(t *testing.T) {
	var out tail
	if out.text() != "" {
		t.Error("nothing was written")
	}
	for range 10_000 {
		out.Write([]byte("line\n"))
	}
	out.Write([]byte("last\n"))
	if s := out.text(); len(s) > tailSize+1 || len(out.b) > 3*tailSize || !strings.HasSuffix(s, "\nlast") {
		t.Errorf("%d bytes kept, %d told, ending %q", len(out.b), len(s), s[len(s)-10:])
	}
}
