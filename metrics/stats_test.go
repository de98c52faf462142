package metrics

import (
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/loop"
)

// exposed returns the lines that f's metrics make, without comments.
func exposed(t *testing.T, f prometheus.CollectorFunc) []string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(f)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func exposedLoop(t *testing.T, s loop.Stats) []string {
	return exposed(t, func(ch chan<- prometheus.Metric) { collectLoop(ch, s, "0") })
}

func exposedMultibuffer(t *testing.T, s multibuffer.Stats) []string {
	return exposed(t, func(ch chan<- prometheus.Metric) { collectMultibuffer(ch, s) })
}

func exposedOffload(t *testing.T, s offload.Stats) []string {
	return exposed(t, func(ch chan<- prometheus.Metric) { offloadFigures.collect(ch, s) })
}

// wantExposed checks that the lines are there.
func wantExposed(t *testing.T, got []string, want ...string) {
	t.Helper()
	have := make(map[string]bool)
	for _, line := range got {
		have[line] = true
	}
	for _, line := range want {
		if !have[line] {
			t.Errorf("no %s in\n%s", line, strings.Join(got, "\n"))
		}
	}
}

// Each counter has its own metric.
func TestStats(t *testing.T) {
	got := exposedLoop(t, loop.Stats{
		JobsRunning: 1, JobsPaused: 2, JobsQueued: 3, JobsStarted: 4, JobsFinished: 5, JobsCanceled: 6, JobsPanicked: 7, JobsBlocked: 8,
		PoolSize: 9, Conns: 10, Lingering: 11, AcceptsPaused: 12, Turns: 13, Events: 14, Accepted: 15, Gone: 16, Shed: 17,
		RefusedConns: 18, RefusedAddress: 19, RefusedAccept: 20, Backlog: 21, BacklogDrops: 22, LogsDropped: 23,
		Waits: loop.Waits{Counts: [16]uint64{0: 30, 1: 5, 14: 1, 15: 2}, Sum: uint64(1500 * time.Millisecond)},
	})
	wantExposed(t, got,
		`jobloop_jobs_running{loop="0"} 1`,
		`jobloop_jobs_paused{loop="0"} 2`,
		`jobloop_jobs_queued{loop="0"} 3`,
		`jobloop_jobs_started_total{loop="0"} 4`,
		`jobloop_jobs_finished_total{loop="0"} 5`,
		`jobloop_jobs_canceled_total{loop="0"} 6`,
		`jobloop_jobs_panicked_total{loop="0"} 7`,
		`jobloop_jobs_blocked_total{loop="0"} 8`,
		`jobloop_pool_size{loop="0"} 9`,
		`jobloop_connections{loop="0"} 10`,
		`jobloop_lingering{loop="0"} 11`,
		`jobloop_accepts_paused_total{loop="0"} 12`,
		`jobloop_turns_total{loop="0"} 13`,
		`jobloop_events_total{loop="0"} 14`,
		`jobloop_accepted_total{loop="0"} 15`,
		`jobloop_gone_total{loop="0"} 16`,
		`jobloop_shed_total{loop="0"} 17`,
		`jobloop_refused_total{loop="0",reason="conns"} 18`,
		`jobloop_refused_total{loop="0",reason="address"} 19`,
		`jobloop_refused_total{loop="0",reason="accept"} 20`,
		`jobloop_backlog{loop="0"} 21`,
		`jobloop_backlog_drops_total{loop="0"} 22`,
		`jobloop_logs_dropped_total{loop="0"} 23`,
		`jobloop_wait_seconds_bucket{loop="0",le="0.001"} 30`,
		`jobloop_wait_seconds_bucket{loop="0",le="0.002"} 35`,
		`jobloop_wait_seconds_bucket{loop="0",le="8.192"} 35`,
		`jobloop_wait_seconds_bucket{loop="0",le="16.384"} 36`,
		`jobloop_wait_seconds_bucket{loop="0",le="+Inf"} 38`,
		`jobloop_wait_seconds_count{loop="0"} 38`,
		`jobloop_wait_seconds_sum{loop="0"} 1.5`)

	wantExposed(t, exposedMultibuffer(t, multibuffer.Stats{
		Operations: 1, Alone: 2, Direct: 3, Unbound: 4, Fallbacks: 5, Canceled: 6, Waited: 2500 * time.Millisecond,
		Batches: 9, BatchSizes: [9]uint64{1: 4, 3: 2, 8: 3},
	}),
		`jobloop_engine_operations_total{engine="multibuffer",way="lanes"} 1`,
		`jobloop_engine_operations_total{engine="multibuffer",way="alone"} 2`,
		`jobloop_engine_operations_total{engine="multibuffer",way="direct"} 3`,
		`jobloop_multibuffer_unbound_total 4`,
		`jobloop_multibuffer_fallbacks_total 5`,
		`jobloop_engine_canceled_total{engine="multibuffer"} 6`,
		`jobloop_multibuffer_waited_seconds_total 2.5`,
		`jobloop_multibuffer_batch_size_bucket{le="1"} 4`,
		`jobloop_multibuffer_batch_size_bucket{le="2"} 4`,
		`jobloop_multibuffer_batch_size_bucket{le="3"} 6`,
		`jobloop_multibuffer_batch_size_bucket{le="8"} 9`,
		`jobloop_multibuffer_batch_size_count 9`,
		`jobloop_multibuffer_batch_size_sum 34`)

	wantExposed(t, exposedOffload(t, offload.Stats{
		Operations: 1, Errors: 2, Timeouts: 3, Canceled: 4, Panics: 5, Dropped: 6, Queued: 7, Running: 8, Stuck: 9,
	}),
		`jobloop_engine_operations_total{engine="offload",way="worker"} 1`,
		`jobloop_offload_failed_total{reason="error"} 2`,
		`jobloop_offload_failed_total{reason="timeout"} 3`,
		`jobloop_engine_canceled_total{engine="offload"} 4`,
		`jobloop_offload_failed_total{reason="panic"} 5`,
		`jobloop_offload_dropped_total 6`,
		`jobloop_offload_queued 7`,
		`jobloop_offload_running 8`,
		`jobloop_offload_stuck_workers 9`)
}

// Every number of a Stats is in a metric, also those of the future.
func TestStatsAreComplete(t *testing.T) {
	wantComplete(t, exposedLoop)
	wantComplete(t, exposedMultibuffer, "Batches") // the sum of the BatchSizes
	wantComplete(t, exposedOffload)
}

// wantComplete checks that each number changes what expose returns, except for fields of
// these names.
func wantComplete[S any](t *testing.T, expose func(*testing.T, S) []string, except ...string) {
	t.Helper()
	var s S
	before := strings.Join(expose(t, s), "\n")
	each(reflect.ValueOf(&s).Elem(), "", func(name string, v reflect.Value) {
		for _, e := range except {
			if name == "."+e {
				return
			}
		}
		seven := reflect.ValueOf(7).Convert(v.Type())
		v.Set(seven)
		if strings.Join(expose(t, s), "\n") == before {
			t.Errorf("%T%s is in no metric", s, name)
		}
		v.SetZero()
	})
}

// each calls f with each number in v.
func each(v reflect.Value, name string, f func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			each(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
	case reflect.Array:
		for i := range v.Len() {
			each(v.Index(i), name, f)
		}
	default:
		f(name, v)
	}
}
