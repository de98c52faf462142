package main

import (
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fetch returns the body that the metrics server sends for a path.
func fetch(t *testing.T, base, path string) string {
	t.Helper()
	resp, err := http.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}

// metricsAt reads the line with the address of a server's metrics, and returns that.
func metricsAt(t *testing.T, s *served) string {
	t.Helper()
	base := strings.TrimPrefix(strings.TrimSpace(s.line()), "metrics at ")
	base, ok := strings.CutSuffix(base, "/metrics")
	if !ok || !strings.HasPrefix(base, "http://127.0.0.1:") {
		t.Fatalf("no address of metrics: %q", base)
	}
	return base
}

// wantMetrics checks that lines match these patterns.
func wantMetrics(t *testing.T, got string, patterns ...string) {
	t.Helper()
	for _, want := range patterns {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(got) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256", "--loops", "2", "--metrics", ":0", "--pprof")
	base := metricsAt(t, s)
	// One idle connection, one that has ended, and one without TLS.
	ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
	_, _, rest := ask(t, s, "nonsense\r\n\r\n", "GET")
	wantEOF(t, "nonsense", rest)
	resp, err := http.Get("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP without TLS: %s", resp.Status)
	}
	got := fetch(t, base, "/metrics")
	wantMetrics(t, got,
		`jobloop_handshakes_total\{result="full",version="1\.3"\} 2`,
		`jobloop_handshakes_total\{result="error",version="none"\} 1`,
		`jobloop_handshake_seconds_count 2`,
		`jobloop_handshake_seconds_bucket\{le="\+Inf"\} 2`,
		`tlsdemo_http_responses_total\{code="200"\} 1`,
		`tlsdemo_http_responses_total\{code="400"\} 1`,
		`jobloop_jobs_panicked_total\{loop="0"\} 0`,
		`jobloop_shed_total\{loop="0"\} 0`,
		`jobloop_gone_total\{loop="1"\} 0`,
		`jobloop_refused_total\{loop="0",reason="address"\} 0`,
		`jobloop_refused_total\{loop="1",reason="conns"\} 0`,
		`jobloop_backlog\{loop="0"\} \d+`,
		`jobloop_wait_seconds_bucket\{loop="0",le="0\.001"\} \d+`,
		`jobloop_wait_seconds_count\{loop="0"\} \d+`,
		`jobloop_jobs_panicked_total\{loop="1"\} 0`,
		`go_goroutines \d+`,
		`tlsdemo_build_info\{goarch="`+runtime.GOARCH+`",goos="`+runtime.GOOS+`",goversion="`+regexp.QuoteMeta(runtime.Version())+`",revision="[^"]*",version="[^"]+"\} 1`,
	)
	// The idle connection holds no job. The refused one is closed, at the latest
	// when the server has waited (lingerTime) for its client to close it.
	sum := func(name string) int {
		n := 0
		for _, m := range regexp.MustCompile(`(?m)^jobloop_`+name+`\{loop="\d"\} (\d+)$`).FindAllStringSubmatch(fetch(t, base, "/metrics"), -1) {
			n += int(m[1][0] - '0')
		}
		return n
	}
	giveUp := time.Now().Add(20 * time.Second)
	for sum("jobs_paused") != 0 || sum("jobs_running") != 0 || sum("connections") != 1 {
		if time.Now().After(giveUp) {
			t.Fatal("an idle connection holds a job, or one that has ended is open")
		}
	}
	if got := fetch(t, base, "/debug/pprof/goroutine?debug=1"); !strings.Contains(got, "loop.(*Loop).Run") {
		t.Errorf("no loop among the goroutines:\n%s", got)
	}
	s.stop()
}

func TestMultibufferMetrics(t *testing.T) {
	withMultibuffer(t)
	s := serve(t, "--metrics", ":0")
	base := metricsAt(t, s)
	shakeHands(t, s)
	wantMetrics(t, fetch(t, base, "/metrics"),
		`jobloop_engine_operations_total\{engine="multibuffer",way="lanes"\} 12`,
		`jobloop_engine_operations_total\{engine="multibuffer",way="alone"\} 0`,
		`jobloop_engine_operations_total\{engine="multibuffer",way="direct"\} 0`,
		`jobloop_engine_operations_total\{engine="offload",way="worker"\} 0`,
		`jobloop_engine_canceled_total\{engine="multibuffer"\} 0`,
		`jobloop_engine_signature_seconds_count\{engine="multibuffer"\} 12`,
		`jobloop_multibuffer_batch_size_sum 12`,
		`jobloop_multibuffer_batch_size_bucket\{le="1"\} \d+`,
		`jobloop_multibuffer_batch_size_bucket\{le="8"\} ([2-9]|1[0-2])`, // all of them
		`jobloop_multibuffer_batch_wait_seconds_count ([2-9]|1[0-2])`,
		`jobloop_multibuffer_batch_seconds_count ([2-9]|1[0-2])`,
		`jobloop_multibuffer_fallbacks_total 0`,
	)
	s.stop()
}

func TestOffloadMetrics(t *testing.T) {
	withoutMultibuffer(t) // so that there are no figures of it
	s := serve(t, "--engine", "offload", "--key", "ecdsa-p256", "--metrics", ":0")
	base := metricsAt(t, s)
	shakeHands(t, s)
	got := fetch(t, base, "/metrics")
	wantMetrics(t, got,
		`jobloop_engine_operations_total\{engine="offload",way="worker"\} 12`,
		`jobloop_engine_canceled_total\{engine="offload"\} 0`,
		`jobloop_engine_signature_seconds_count\{engine="offload"\} 12`,
		`jobloop_offload_wait_seconds_count 12`,
		`jobloop_offload_seconds_count 12`,
		`jobloop_offload_failed_total\{reason="error"\} 0`,
		`jobloop_offload_failed_total\{reason="timeout"\} 0`,
		`jobloop_offload_failed_total\{reason="panic"\} 0`,
		`jobloop_offload_dropped_total 0`,
		`jobloop_offload_queued 0`,
		`jobloop_offload_running \d+`,
		`jobloop_offload_stuck_workers 0`,
	)
	if strings.Contains(got, `engine="multibuffer"`) || strings.Contains(got, "jobloop_multibuffer") {
		t.Errorf("figures of an engine that is not there:\n%s", got)
	}
	s.stop()
}

// Signatures without an engine are timed too, for comparison.
func TestPlainSignatureMetrics(t *testing.T) {
	s := serve(t, "--engine", "none", "--metrics", ":0")
	base := metricsAt(t, s)
	shakeHands(t, s)
	wantMetrics(t, fetch(t, base, "/metrics"), `jobloop_engine_signature_seconds_count\{engine="none"\} 12`)
	s.stop()
}
