package metrics_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/metrics"
)

// registry returns a registry that checks what it collects, with these collectors.
func registry(t testing.TB, collectors ...prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// scrape returns what Prometheus would get.
func scrape(t testing.TB, r prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// wantLines checks that each pattern matches a line.
func wantLines(t testing.TB, got string, patterns ...string) {
	t.Helper()
	for _, want := range patterns {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(got) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func hasLine(got, line string) bool { return strings.Contains("\n"+got, "\n"+line+"\n") }

func newOffload(t testing.TB, cfg offload.Config) *offload.Engine {
	t.Helper()
	e, err := offload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// Everything fits into one registry. The names are as Prometheus recommends, and the texts
// name no flags of a program.
func TestTogether(t *testing.T) {
	handshakes := metrics.NewHandshakes()
	r := registry(t, metrics.Loops(looptest.NewIdle(t, loop.Config{})), handshakes,
		metrics.Multibuffer(nil), metrics.NewBatches(), metrics.Offload(newOffload(t, offload.Config{})), metrics.NewOperations())
	handshakes.Observe(tls.ConnectionState{}, 0, nil)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 30 {
		t.Errorf("only %d metrics", len(families))
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "jobloop_") || strings.Contains(f.GetHelp(), "--") {
			t.Errorf("%s: %s", f.GetName(), f.GetHelp())
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A registry has room for several of a kind if a label tells them apart, and says so if
// none does.
func TestSeveral(t *testing.T) {
	r := registry(t)
	for _, server := range []string{"a", "b"} {
		labeled := prometheus.WrapRegistererWith(prometheus.Labels{"server": server}, r)
		for _, c := range []prometheus.Collector{
			metrics.Loops(looptest.NewIdle(t, loop.Config{}), looptest.NewIdle(t, loop.Config{})), metrics.NewHandshakes(),
			metrics.Multibuffer(nil), metrics.NewBatches(), metrics.Offload(newOffload(t, offload.Config{})), metrics.NewOperations(),
		} {
			if err := labeled.Register(c); err != nil {
				t.Fatal(err)
			}
			if err := labeled.Register(c); err == nil {
				t.Errorf("%T can be registered twice", c)
			}
		}
	}
	wantLines(t, scrape(t, r),
		`jobloop_connections\{loop="0",server="a"\} 0`,
		`jobloop_connections\{loop="1",server="b"\} 0`,
		`jobloop_wait_seconds_count\{loop="1",server="a"\} 0`,
		`jobloop_engine_operations_total\{engine="multibuffer",server="b",way="lanes"\} 0`,
		`jobloop_engine_operations_total\{engine="offload",server="b",way="worker"\} 0`,
		`jobloop_offload_seconds_count\{server="b"\} 0`)
}

// A mistake shows when the collector is made, and not when it is collected, on a goroutine
// of Prometheus.
func TestNil(t *testing.T) {
	for name, f := range map[string]func(){
		"Loops":   func() { metrics.Loops(looptest.NewIdle(t, loop.Config{}), nil) },
		"Offload": func() { metrics.Offload(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes nil", name)
				}
			}()
			f()
		}()
	}
	var unsupported *multibuffer.Engine // as of multibuffer.Shared
	wantLines(t, scrape(t, registry(t, metrics.Multibuffer(unsupported))), `jobloop_multibuffer_batch_size_count 0`)
}
