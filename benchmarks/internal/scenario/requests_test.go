//go:build linux

package scenario

import (
	"strings"
	"testing"
	"time"
)

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
	got, err := parseWrk([]byte(wrkOutput))
	if err != nil {
		t.Fatal(err)
	}
	want := requestResult{
		Requests: 118040, Rate: 118040.12, P50: 404 * time.Microsecond, P99: 2660 * time.Microsecond,
		Trouble: "Socket errors: connect 0, read 3, write 0, timeout 0",
	}
	if *got != want {
		t.Errorf("%+v, want %+v", *got, want)
	}
	if err := newRun(t).noteRequests([]string{"x"}, map[string][]*requestResult{"x": {got}}); err == nil || err.Error() != "x, round 1: wrk: "+want.Trouble {
		t.Errorf("trouble is not told: %v", err)
	}
	for _, bad := range []string{"unable to connect to 127.0.0.1:8443 Connection refused\n", strings.Replace(wrkOutput, "2.66ms", "2.66", 1)} {
		if _, err := parseWrk([]byte(bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

func TestRequestWarnings(t *testing.T) {
	r := newRun(t)
	err := r.noteRequests([]string{"x", "y"}, map[string][]*requestResult{
		"x": {{Elapsed: time.Second, ClientCPU: 890 * time.Millisecond}, {Elapsed: time.Second, ClientCPU: 910 * time.Millisecond}},
		"y": {{Elapsed: time.Second, ClientCPU: 500 * time.Millisecond}},
	})
	if err != nil {
		t.Error(err)
	}
	wantPrefixes(t, r.Notes, []string{"x: in 1 of 2 rounds the client was the limit."})
}
