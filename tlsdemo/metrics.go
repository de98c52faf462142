package main

import (
	"crypto/tls"
	"fmt"
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
	"github.com/jobloop/jobloop/loop"
)

// metrics are the metrics for Prometheus. Jobs only add to atomic counters. The
// HTTP server for them runs on its own goroutines, not on the loops.
type metrics struct {
	registry   *prometheus.Registry
	took       prometheus.Histogram
	handshakes *prometheus.CounterVec
	responses  *prometheus.CounterVec
	*engineMetrics
}

func newMetrics() *metrics {
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		engineMetrics: newEngineMetrics(),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tlsdemo_handshake_seconds",
			Help:    "Time of successful handshakes, from the beginning of the connection (with event loops on Linux; otherwise from its accept) to the end of the handshake.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // 0.5 ms to 8 s
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tlsdemo_handshakes_total",
			Help: "Handshakes by TLS version (none: failed before a version was chosen) and result (full, resumed, timeout, closed, gone, shed, error).",
		}, []string{"version", "result"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tlsdemo_http_responses_total",
			Help: "HTTP responses by status code.",
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.took, m.handshakes, m.responses, m.engineMetrics, buildInfo(version.Get()),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
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

func (m *metrics) onHandshake(c tlsConn, took time.Duration, err error) {
	version := "none"
	if v := c.ConnectionState().Version; v != 0 {
		version = strings.TrimPrefix(tls.VersionName(v), "TLS ")
	}
	m.handshakes.WithLabelValues(version, result(c, err)).Inc()
	if err == nil {
		m.took.Observe(took.Seconds())
	}
}

func (m *metrics) onResponse(code int) { m.responses.WithLabelValues(strconv.Itoa(code)).Inc() }

// serve serves the metrics at the address until the returned server is closed.
func (m *metrics) serve(addr string, withPprof bool) (*http.Server, net.Addr, error) {
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr // to listen on all addresses, say 0.0.0.0:PORT
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	if withPprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return srv, ln.Addr(), nil
}

// loopCollector reads the loops' counters when Prometheus asks for them.
type loopCollector []*loop.Loop

// loopMetric is one of those counters.
type loopMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(loop.Stats) uint64
}

var loopMetrics = []loopMetric{
	gauge("jobs_running", "Jobs that are running now.", func(s loop.Stats) uint64 { return s.JobsRunning }),
	gauge("jobs_paused", "Jobs that are paused now.", func(s loop.Stats) uint64 { return s.JobsPaused }),
	gauge("jobs_queued", "Jobs that will start when the pool has room.", func(s loop.Stats) uint64 { return s.JobsQueued }),
	total("jobs_started_total", "Jobs started.", func(s loop.Stats) uint64 { return s.JobsStarted }),
	total("jobs_finished_total", "Jobs finished, including those that were canceled or panicked.", func(s loop.Stats) uint64 { return s.JobsFinished }),
	total("jobs_canceled_total", "Jobs canceled.", func(s loop.Stats) uint64 { return s.JobsCanceled }),
	total("jobs_panicked_total", "Jobs that panicked.", func(s loop.Stats) uint64 { return s.JobsPanicked }),
	gauge("pool_size", "Coroutines in the pool, with and without a job.", func(s loop.Stats) uint64 { return s.PoolSize }),
	gauge("connections", "Open connections.", func(s loop.Stats) uint64 { return s.Conns }),
	total("accepted_total", "Connections accepted, including those that were then refused or failed.", func(s loop.Stats) uint64 { return s.Accepted }),
	total("gone_total", "Connections whose client gave up before it was served.", func(s loop.Stats) uint64 { return s.Gone }),
	total("shed_total", "Connections reset because they had waited too long to be served (--max-wait).", func(s loop.Stats) uint64 { return s.Shed }),
	refused("conns", func(s loop.Stats) uint64 { return s.RefusedConns }),
	refused("address", func(s loop.Stats) uint64 { return s.RefusedAddress }),
	total("backlog_drops_total", "Connection attempts that the kernel dropped because the backlog was full.", func(s loop.Stats) uint64 { return s.BacklogDrops }),
	gauge("backlog", "Connections that were waiting in the kernel when the loop last looked.", func(s loop.Stats) uint64 { return s.Backlog }),
	total("accepts_paused_total", "How often accepting paused because there were no free jobs or file descriptors.", func(s loop.Stats) uint64 { return s.AcceptsPaused }),
	total("turns_total", "Turns of the loop.", func(s loop.Stats) uint64 { return s.Turns }),
	total("events_total", "Events reported by the kernel.", func(s loop.Stats) uint64 { return s.Events }),
}

func total(name, help string, get func(loop.Stats) uint64) loopMetric {
	return loopMetric{loopDesc(name, help), prometheus.CounterValue, get}
}

func refused(reason string, get func(loop.Stats) uint64) loopMetric {
	return loopMetric{refusedDesc(reason), prometheus.CounterValue, get}
}

func refusedDesc(reason string) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_refused_total", "Connections reset when they were accepted, by reason: the limit of --max-conns (conns) or --max-conns-per-address (address) was reached.",
		[]string{"loop"}, prometheus.Labels{"reason": reason})
}

func gauge(name, help string, get func(loop.Stats) uint64) loopMetric {
	return loopMetric{loopDesc(name, help), prometheus.GaugeValue, get}
}

func loopDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_"+name, help, []string{"loop"}, nil)
}

func (loops loopCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range loopMetrics {
		ch <- m.desc
	}
	ch <- waitsDesc
}

// waitsDesc describes the histogram of loop.Waits.
var waitsDesc = loopDesc("wait_seconds", "How long new connections waited until they were served, in the kernel's queue and the loop's.")

func waits(w loop.Waits, name string) prometheus.Metric {
	buckets := make(map[float64]uint64)
	var n uint64
	for i, c := range w.Counts {
		n += c
		if i < len(w.Counts)-1 {
			buckets[loop.WaitBound(i).Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(waitsDesc, n, time.Duration(w.Sum).Seconds(), buckets, name)
}

func (loops loopCollector) Collect(ch chan<- prometheus.Metric) {
	for i, l := range loops {
		s := l.Stats()
		for _, m := range loopMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.get(s)), strconv.Itoa(i))
		}
		ch <- waits(s.Waits, strconv.Itoa(i))
	}
}
