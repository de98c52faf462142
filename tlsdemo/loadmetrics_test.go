package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/testkit"
)

func TestLoadMetrics(t *testing.T) {
	addr, _ := dropping(t, 50)
	l := start(t, program(t, "load", addr, "--insecure", "--duration", "1h", "--warmup", "0s", "--connections", "4", "--max-errors", "100%", "--metrics", ":0"))
	base, ok := strings.CutPrefix(strings.TrimSpace(l.complaint()), "tlsdemo: metrics at ")
	base, isMetrics := strings.CutSuffix(base, "/metrics")
	if !ok || !isMetrics {
		t.Fatalf("no address of metrics: %q", base)
	}
	labels := `target="` + regexp.QuoteMeta(addr) + `"`
	failed := regexp.MustCompile(`tlsdemo_load_errors_total\{address="` + regexp.QuoteMeta(addr) + `",kind="[a-z]+",` + labels + `\} [1-9]`)
	succeeded := regexp.MustCompile(`tlsdemo_load_latency_seconds_count\{address=".*",` + labels + `\} 49\n`) // and the probe
	var got string
	testkit.Eventually(t, "successes and errors are counted", func() bool {
		got = fetch(t, base, "/metrics")
		return succeeded.MatchString(got) && failed.MatchString(got) && strings.Contains(got, "tlsdemo_load_measuring 1")
	})
	wantMetrics(t, got,
		`tlsdemo_load_in_flight [0-4]`,
		`tlsdemo_build_info.* 1`,
		`process_cpu_seconds_total .*`)
	l.signal(os.Interrupt)
	if status, errs := l.wait(); status != 0 {
		t.Errorf("status %d, stderr %s", status, errs)
	}
}

// The latency is a native histogram too, for the servers that take those.
func TestLoadMetricsAreNative(t *testing.T) {
	m := newLoadMetrics()
	for range 3 {
		m.onEnd(load.End{Target: "server:443", Address: "192.0.2.1:443", Latency: time.Millisecond})
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tlsdemo_load_latency_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 3 || len(h.GetPositiveSpan()) == 0 || len(h.GetBucket()) == 0 {
			t.Errorf("%v, want 3 samples in buckets of both kinds", h)
		}
		return
	}
	t.Error("there is no such metric")
}

// An address that cannot be had is told of before the run.
func TestLoadMetricsAddress(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	status, res, _, errs := loaded(t, s.addr, "--insecure", "--count", "10", "--metrics", s.addr)
	if status != 1 || res != nil || !strings.Contains(errs, "metrics: listen") {
		t.Errorf("status %d, stderr %s", status, errs)
	}
}
