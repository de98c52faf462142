//go:build linux

package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/internal/load"
)

func TestStrike(t *testing.T) {
	r := newRun(t)
	s := &storm{Key: "ecdsa-p256", Clients: 500, Timeout: 20 * time.Second}
	withServer(t, r, s.Key, func(srv *peer.Server) {
		res := goodLoad(srv, 499)
		res.Errors, res.MaxInFlight = 1, 480
		res.Latency.P99, res.Latency.Max = 2000, 1200000
		calls := r.fakeLoad(t, res)
		got, err := s.strike(t.Context(), r, srv)
		if err != nil {
			t.Fatal(err)
		}
		if got.unserved() != 1 || got.last() != 1.2 || got.Load.MaxInFlight != 480 || got.RSSBefore < 1<<20 || got.PeakRSS < got.RSSBefore {
			t.Errorf("%+v", got)
		}
		lines := calls()
		if len(lines) != 2 || !strings.Contains(lines[0], "--connections 1 --count 1 ") {
			t.Errorf("the first load is not of one client: %q", lines)
		}
		want := "load --quiet --json - --tls 1.3 --insecure --curve X25519 --resume none --rate 1000000 --connections 500 --count 500 --warmup 0s --ramp 0s --timeout 20s --request / --reset " + srv.Addr
		if lines[len(lines)-1] != want {
			t.Errorf("the storm is %q, want %q", lines[len(lines)-1], want)
		}

		other := goodLoad(srv, 500)
		other.Certificates[0].SHA256 = "beef"
		for want, res := range map[string]*load.Result{
			"no client was served": {Errors: 500},
			"out of descriptors":   {Handshakes: 7, Stopped: "out of descriptors"},
			"beef":                 other,
		} {
			r.fakeLoad(t, res)
			if _, err := s.strike(t.Context(), r, srv); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	})
}

func TestStormTable(t *testing.T) {
	result := func(res *load.Result, last int64, peak int64) *stormResult {
		res.Latency.Max = last
		return &stormResult{1000, res, 20e6, peak}
	}
	results := map[string][]*stormResult{
		"jobloop": {result(&load.Result{Handshakes: 1000, MaxInFlight: 899, StartDelay: &load.Percentiles{Max: 1500000}}, 2e6, 30e6)},
		"nginx":   {result(&load.Result{Handshakes: 990, MaxInFlight: 900, ErrorsByKind: map[string]int64{"timeout": 7, "reset": 3}, ErrorExamples: map[string]string{"timeout": "after 20s"}}, 4e6, 120e6)},
	}
	names := []string{"jobloop", "nginx"}
	wantPrefixes(t, rowsOf(serverTable("", "server", names, results, stormColumns))[1:], []string{
		"jobloop 20.0 30.0 10.0 2.00 0 0 0",
		"nginx 20.0 120 100 4.00 0 0 10.0",
		"jobloop / nginx 1.00 0.25 0.10 0.50 – – 0.00",
	})
	r := newRun(t)
	r.noteStorm(names, results)
	wantPrefixes(t, r.Notes, []string{
		"jobloop, round 1: only 899 clients were there at a time. The first were served before the client's core had begun the last, after 1.50 s.",
		"nginx, round 1: 10 of 1000 clients were not served: 3 reset, 7 timeout (after 20s).",
	})
}
