package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

func TestLimits(t *testing.T) {
	run := load.Result{
		Handshakes: 990, Errors: 10, HandshakesPer: 99.4, ErrorsByKind: map[string]int64{"reset": 7, "timeout": 3},
		Latency: load.Percentiles{Count: 990, P50: 1000, P90: 2000, P99: 30_000, P999: 31_000},
	}
	nothing := load.Result{}
	sweep := load.Result{Errors: 10, Sweep: &load.Sweep{Knee: 500}}
	ms := func(n time.Duration) *time.Duration { n *= time.Millisecond; return &n }
	rate := func(r float64) *float64 { return &r }
	for _, test := range []struct {
		name   string
		limits limits
		res    *load.Result
		unmet  []string // parts of what is said
	}{
		{"none", limits{}, &run, nil},
		{"just met", limits{&errorLimit{n: 10}, rate(99.4), ms(1), ms(2), ms(30), ms(31)}, &run, nil},
		{"share", limits{MaxErrors: &errorLimit{share: 0.01}}, &run, nil},
		{"share exceeded", limits{MaxErrors: &errorLimit{share: 0.0099}}, &run, []string{"10 of 1000 handshakes failed (7 reset, 3 timeout), above --max-errors 0.99%"}},
		{"all exceeded", limits{&errorLimit{n: 9}, rate(99.5), ms(0), ms(1), ms(29), ms(30)}, &run,
			[]string{"--max-errors 9", "99.4/s, below --min-rate 99.5", "p50 latency was 1ms, above --max-p50 0s", "--max-p90 1ms", "p99 latency was 30ms, above --max-p99 29ms", "p99.9 latency was 31ms, above --max-p999 30ms"}},
		{"nothing measured", limits{MaxP99: ms(1), MinRate: rate(1)}, &nothing, []string{"0.0/s", "there is no p99 latency"}},
		{"knee", limits{MinRate: rate(500)}, &sweep, nil},
		{"low knee", limits{MinRate: rate(501)}, &sweep, []string{"the knee is at 500.0/s, below --min-rate 501"}},
	} {
		unmet := test.limits.check(test.res)
		if len(unmet) != len(test.unmet) {
			t.Errorf("%s: %q, want %q", test.name, unmet, test.unmet)
			continue
		}
		for i, want := range test.unmet {
			if !strings.Contains(unmet[i], want) {
				t.Errorf("%s: %q, want %q", test.name, unmet[i], want)
			}
		}
	}
}

func TestErrorLimit(t *testing.T) {
	for text, want := range map[string]errorLimit{"0": {}, "12": {n: 12}, "0%": {}, "0.1%": {share: 0.001}, "100%": {share: 1}} {
		var got errorLimit
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5", "%", "-1%", "101%", "NaN%", "many", "1e3"} {
		if err := new(errorLimit).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// The distribution can be had as other programs read it.
func TestLoadDistribution(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	dir := t.TempDir()
	hgrm, table := filepath.Join(dir, "run.hgrm"), filepath.Join(dir, "run.csv")
	if status, _, _, errs := loaded(t, s.addr, "--insecure", "--count", "20", "--hgrm", hgrm, "--csv", table); status != 0 {
		t.Fatalf("status %d, stderr %s", status, errs)
	}
	for file, want := range map[string]string{hgrm: "Total count    =           20]", table: ",20\n"} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("no %q in %s, %v", want, text, err)
		}
	}
	if status, _, out, errs := loaded(t, s.addr, "--insecure", "--count", "20", "--csv", "-"); status != 0 || !strings.HasPrefix(out, "percentile,latency_us,handshakes\n") || strings.Contains(out, "TLS 1.3") {
		t.Errorf("CSV to standard output: status %d, %q, %q", status, out, errs)
	}
}

// Each threshold that is not met is named, in the output and in the result.
func TestLoadThresholds(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	load := func(args ...string) (int, *load.Result, string) {
		status, res, _, errs := loaded(t, append(args, s.addr, "--insecure", "--count", "20")...)
		return status, res, errs
	}
	if status, res, errs := load("--max-p99", "1h", "--min-rate", "0.001", "--max-errors", "0"); status != 0 || res == nil || res.Unmet != nil {
		t.Errorf("met: status %d, stderr %s", status, errs)
	}
	status, res, errs := load("--max-p99", "1us", "--min-rate", "1e9", "--max-p50", "1h")
	if status != 1 || res == nil || len(res.Unmet) != 2 || !strings.Contains(errs, "--max-p99 1µs") || !strings.Contains(errs, "--min-rate 1e+09") || strings.Contains(errs, "--max-p50") {
		t.Errorf("not met: status %d, result %+v, stderr %s", status, res, errs)
	}
}
