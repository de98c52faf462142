package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/jobloop/jobloop/internal/version"
	"github.com/jobloop/jobloop/metrics"
)

// serveMetrics are the metrics of "tlsdemo serve": those of package metrics, and some of
// its own. The hooks only add to atomic counters. The HTTP server for the metrics runs on
// its own goroutines, not on the loops.
type serveMetrics struct {
	registry   *prometheus.Registry
	handshakes *metrics.Handshakes
	batches    *metrics.Batches
	operations *metrics.Operations
	signed     *prometheus.HistogramVec // by engine
	responses  *prometheus.CounterVec   // by status code
	errorLog   *log.Logger              // of the HTTP server
}

func newServeMetrics() *serveMetrics {
	m := &serveMetrics{
		registry:   prometheus.NewRegistry(),
		handshakes: metrics.NewHandshakes(),
		batches:    metrics.NewBatches(),
		operations: metrics.NewOperations(),
		signed: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "jobloop_engine_signature_seconds",
			Help:    "Time from a call of Sign to its result, by engine (none, offload, multibuffer).",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 17), // 50 µs to 3.3 s
		}, []string{"engine"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tlsdemo_http_responses_total",
			Help: "HTTP responses by status code.",
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.handshakes, m.signed, m.responses, buildInfo(version.Get()),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds the metrics of engines.
func (m *serveMetrics) watch(e *engines) {
	m.registry.MustRegister(metrics.Offload(e.offload), m.operations)
	if e.multibuffer != nil {
		m.registry.MustRegister(metrics.Multibuffer(e.multibuffer), m.batches)
	}
}

// buildInfo is a metric that is always 1. Its labels say which build this is.
func buildInfo(v version.Info) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tlsdemo_build_info",
		Help: "Always 1. The labels say which build of tlsdemo this is.",
		ConstLabels: prometheus.Labels{
			"version": v.Version, "revision": v.Commit(), "goversion": v.Go, "goos": v.OS, "goarch": v.Arch,
		},
	}, func() float64 { return 1 })
}

func (m *serveMetrics) onHandshake(c tlsConn, took time.Duration, err error) {
	m.handshakes.Observe(c.ConnectionState(), took, err)
}

func (m *serveMetrics) onSign(kind engineKind, took time.Duration) {
	m.signed.WithLabelValues(string(kind)).Observe(took.Seconds())
}

func (m *serveMetrics) onResponse(code int) { m.responses.WithLabelValues(strconv.Itoa(code)).Inc() }

// serve serves the metrics at the address until the returned server is closed.
func (m *serveMetrics) serve(addr string, withPprof bool) (*http.Server, net.Addr, error) {
	mux := http.NewServeMux()
	if withPprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return exposeMetrics(addr, mux, m.registry, m.errorLog)
}

// exposeMetrics serves a registry at the address, together with what mux serves, until
// the returned server is closed. To listen on all addresses, say 0.0.0.0:PORT.
func exposeMetrics(addr string, mux *http.ServeMux, registry *prometheus.Registry, errorLog *log.Logger) (*http.Server, net.Addr, error) {
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: errorLog}
	go srv.Serve(ln)
	return srv, ln.Addr(), nil
}
