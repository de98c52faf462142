package load

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests the JSON form of results, which other programs read.

// wantNoNull checks that a result's JSON has no null in it, and returns it.
func wantNoNull(t testing.TB, res *Result) map[string]any {
	t.Helper()
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("null")) {
		t.Errorf("null in %s", text)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(&back); err != nil || !bytes.Equal(again, text) {
		t.Errorf("%s, and back and forth %s, error %v", text, again, err)
	}
	return m
}

func wantKeys(t testing.TB, what string, v any, keys string) {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Errorf("%s is %T, want an object", what, v)
		return
	}
	want(t, "keys of "+what, strings.Join(slices.Sorted(maps.Keys(m)), " "), keys)
}

func TestJSON(t *testing.T) {
	s := failing(t, nil, nil)
	cfg := openConfig(100, 100*time.Millisecond, s)
	cfg.Connections = 1
	res := mustRun(t, t.Context(), cfg)
	res.GaveUpAfter, res.Total.GaveUp = &Percentiles{Count: 1}, 1
	res.Held, res.HeldEndedByServer, res.HeldEndedAfter = 1, 1, &Percentiles{Count: 1}
	res.Aborted, res.Total.Aborted = map[string]int64{"connected": 1}, map[string]int64{"connected": 1}
	res.NotBegun, res.Warnings, res.Stopped = 1, []string{"w"}, Interrupted // so that these keys are there
	res.ErrorExamples = map[string]string{"a": "b"}
	res.Sweep = &Sweep{Steps: []Step{{Why: "why", ErrorsByKind: map[string]int64{}}}, Limit: "limit"}
	res.Environment.Commit = "c"
	m := wantNoNull(t, res)

	percentiles := "count max mean min p50 p90 p99 p999"
	wantKeys(t, "the result", m, "aborted bytes_read bytes_written certificates client duration_s environment error_examples errors "+
		"errors_by_kind gave_up_after_us handshakes handshakes_per_s held held_ended_after_us held_ended_by_server histograms latency_distribution latency_us max_in_flight measured_from negotiated not_begun phases_us "+
		"schema series settings start_delay_us started stopped sweep targets total warnings")
	wantKeys(t, "latency_us", m["latency_us"], percentiles)
	wantKeys(t, "start_delay_us", m["start_delay_us"], percentiles)
	wantKeys(t, "gave_up_after_us", m["gave_up_after_us"], percentiles)
	wantKeys(t, "phases_us", m["phases_us"], "connect first_byte tls")
	wantKeys(t, "connect", m["phases_us"].(map[string]any)["connect"], percentiles)
	wantKeys(t, "client", m["client"], "busy cpu_s cpu_us_per_handshake loops max_rss_bytes")
	wantKeys(t, "total", m["total"], "aborted begun canceled errors gave_up handshakes probes requests resumed")
	wantKeys(t, "settings", m["settings"], "command flags")
	wantKeys(t, "environment", m["environment"], "arch commit cores cpu go host kernel os version")
	wantKeys(t, "sweep", m["sweep"], "knee_per_s limit steps")
	wantKeys(t, "histograms", m["histograms"], "connect first_byte latency start_delay tls")
	byHandshakes := func(a, b any) int {
		return cmp.Compare(a.(map[string]any)["handshakes"].(float64), b.(map[string]any)["handshakes"].(float64))
	}
	first := func(v any) any { return v.([]any)[0] }
	wantKeys(t, "a step", first(m["sweep"].(map[string]any)["steps"]), "client_busy errors errors_by_kind handshakes handshakes_per_s kept_up latency_us rate_per_s why")
	wantKeys(t, "a certificate", first(m["certificates"]), "handshakes key sha256 subject")
	wantKeys(t, "a target", first(m["targets"]), "address errors handshakes histogram latency_us target")
	wantKeys(t, "a quantile", first(m["latency_distribution"]), "latency_us percentile")
	wantKeys(t, "a point", slices.MaxFunc(m["series"].([]any), byHandshakes), "at_s errors handshakes histogram in_flight length_s max_us p50_us p99_us")
	for _, v := range m["negotiated"].([]any) {
		wantKeys(t, "what was negotiated", v, "cipher curve handshakes resumed version")
	}
	want(t, "handshakes", m["handshakes"], any(float64(res.Handshakes)))
	want(t, "duration_s", m["duration_s"], any(0.1))
}

// A run in which nothing succeeds has all keys too.
func TestJSONOfFailures(t *testing.T) {
	s := failing(t, nil, func(_ *server, c net.Conn) { testkit.Reset(c) })
	cfg := closedConfig(s)
	cfg.Count, cfg.Connections = 2, 2
	res := mustRun(t, t.Context(), cfg)
	m := wantNoNull(t, res)
	wantKeys(t, "errors_by_kind", m["errors_by_kind"], "reset")
	wantKeys(t, "the result", m, "bytes_read bytes_written certificates client duration_s environment error_examples errors "+
		"errors_by_kind handshakes handshakes_per_s latency_distribution latency_us max_in_flight measured_from negotiated phases_us "+
		"schema series settings started targets total"+warningsKey(res))
	for _, key := range []string{"certificates", "negotiated", "latency_distribution"} {
		want(t, "length of "+key, len(m[key].([]any)), 0)
	}
}

// warningsKey is the key of warnings, if there are any: this client may have been busy.
func warningsKey(res *Result) string {
	if len(res.Warnings) > 0 {
		return " warnings"
	}
	return ""
}

// Warnings about the rate are about what was due, and say where the trouble began.
func TestWarningsOfTheRate(t *testing.T) {
	const slow, early = "did not keep up", "were all due before it"
	for _, test := range []struct {
		name               string
		rate               float64
		seconds            int64
		inTime, handshakes int64
		stopped            string
		says, saysNot      []string
	}{
		{"all", 100, 10, 1000, 1000, "", nil, []string{slow, early}},
		{"too few", 100, 10, 900, 1000, "", []string{"90 handshakes a second were done, but 100 were due", slow}, []string{early}},
		{"none", 100, 10, 0, 0, "", []string{slow}, []string{early}},
		{"only those of the warm-up", 3000, 1, 713, 0, "", []string{slow, "713 handshakes", early}, nil},
		{"none was due", 0.1, 1, 0, 0, "", nil, []string{slow, early}},
		{"one of one or two", 0.5, 3, 1, 1, "", nil, []string{slow, early}},
		{"none of one or two", 0.5, 3, 0, 0, "", []string{"0 handshakes a second were done, but 0.5 were due"}, []string{early}},
		{"stopped", 100, 10, 5, 0, Interrupted, nil, []string{slow, early}},
	} {
		r := &run{cfg: &Config{Rate: test.rate}, why: test.stopped}
		m := &measured{rec: newRecorder(1)}
		m.rec.inTime = test.inTime
		res := &Result{Handshakes: test.handshakes, Duration: float64(test.seconds), HandshakesPer: float64(test.inTime) / float64(test.seconds)}
		res.warn(r, m)
		all := strings.Join(res.Warnings, "\n")
		for _, text := range test.says {
			if !strings.Contains(all, text) {
				t.Errorf("%s: warnings %q, want %q", test.name, all, text)
			}
		}
		for _, text := range test.saysNot {
			if strings.Contains(all, text) {
				t.Errorf("%s: warnings %q", test.name, all)
			}
		}
	}
}
