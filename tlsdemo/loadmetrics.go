package main

import (
	"fmt"
	"log"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/version"
)

// loadMetrics are the metrics of "tlsdemo load" while it runs. They count all
// connections, those of the ramp and the warm-up too, but not those before the start.
// All names are the same on each machine, and counters and histograms can be added.
type loadMetrics struct {
	registry *prometheus.Registry
	latency  *prometheus.HistogramVec // by target and address
	errors   *prometheus.CounterVec   // by target, address and kind; no target: never begun
	aborted  *prometheus.CounterVec   // by target, address and phase
	phase    atomic.Value             // string
	inFlight atomic.Int64
}

func newLoadMetrics() *loadMetrics {
	m := &loadMetrics{registry: prometheus.NewRegistry()}
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tlsdemo_load_latency_seconds",
		Help: "Latency of handshakes that succeeded, from when they were due, with the answer to the request if there was one.",
		// 100 µs to 74 s. Prometheus servers that take native histograms get finer ones.
		Buckets:                         prometheus.ExponentialBuckets(0.0001, math.Sqrt2, 40),
		NativeHistogramBucketFactor:     1.05,
		NativeHistogramMaxBucketNumber:  200,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"target", "address"})
	m.errors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tlsdemo_load_errors_total",
		Help: "Handshakes that failed, by kind. Those that never began have no target.",
	}, []string{"target", "address", "kind"})
	m.aborted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tlsdemo_load_aborted_total",
		Help: "Clients that disconnected on purpose (--abort), by phase.",
	}, []string{"target", "address", "phase"})
	m.phase.Store("")
	m.registry.MustRegister(m.latency, m.errors, m.aborted, buildInfo(version.Get()),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tlsdemo_load_in_flight",
			Help: "Connections at this moment.",
		}, func() float64 { return float64(m.inFlight.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tlsdemo_load_measuring",
			Help: "1 in the measured part of the run, else 0. In a sweep always 0.",
		}, func() float64 {
			if m.phase.Load() == "measuring" {
				return 1
			}
			return 0
		}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// onEnd is Config.OnEnd.
func (m *loadMetrics) onEnd(e load.End) {
	switch {
	case e.Kind != "":
		m.errors.WithLabelValues(e.Target, e.Address, e.Kind).Inc()
	case e.Aborted != "":
		m.aborted.WithLabelValues(e.Target, e.Address, e.Aborted).Inc()
	default:
		m.latency.WithLabelValues(e.Target, e.Address).Observe(e.Latency.Seconds())
	}
}

// show is told of the progress.
func (m *loadMetrics) show(p load.Progress) {
	m.phase.Store(p.Phase)
	m.inFlight.Store(int64(p.InFlight))
}

// watch makes a run report to metrics that are served at --metrics. unwatch ends that.
func (c *loadCmd) watch(con *console, cfg *load.Config) (unwatch func(), err error) {
	if c.Metrics == "" {
		return func() {}, nil
	}
	m := newLoadMetrics()
	srv, addr, err := exposeMetrics(c.Metrics, http.NewServeMux(), m.registry, log.New(con.err, "tlsdemo: metrics: ", 0))
	if err != nil {
		return nil, err
	}
	show := cfg.Progress
	cfg.OnEnd = m.onEnd
	cfg.Progress = func(p load.Progress) { m.show(p); show(p) }
	fmt.Fprintf(con.err, "tlsdemo: metrics at http://%v/metrics\n", addr)
	return func() { srv.Close() }, nil
}
