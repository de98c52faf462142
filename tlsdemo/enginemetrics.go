package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
)

// engineMetrics records what the engines report while they work. It is a
// prometheus.Collector.
type engineMetrics struct {
	signed     *prometheus.HistogramVec // by engine
	batchSize  prometheus.Histogram
	batchWait  prometheus.Histogram
	batchTook  prometheus.Histogram
	offWaited  prometheus.Histogram
	offTook    prometheus.Histogram
	collectors []prometheus.Collector // all of these
}

func newEngineMetrics() *engineMetrics {
	m := &engineMetrics{signed: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "jobloop_engine_signature_seconds",
		Help:    "Time from a call of Sign to its result, by engine (none, offload, multibuffer).",
		Buckets: engineBuckets,
	}, []string{"engine"})}
	m.collectors = append(m.collectors, m.signed)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		m.collectors = append(m.collectors, h)
		return h
	}
	m.batchSize = histogram("jobloop_multibuffer_batch_size", "Signatures computed together.", prometheus.LinearBuckets(1, 1, 8))
	m.batchWait = histogram("jobloop_multibuffer_batch_wait_seconds", "Time from a batch's first call of Sign until the batch is computed.", engineBuckets)
	m.batchTook = histogram("jobloop_multibuffer_batch_seconds", "Time to compute a batch.", engineBuckets)
	m.offWaited = histogram("jobloop_offload_wait_seconds", "Time that an operation waited for a worker.", engineBuckets)
	m.offTook = histogram("jobloop_offload_seconds", "Time that a worker took for an operation.", engineBuckets)
	return m
}

// engineBuckets go from 50 µs to 3.3 s.
var engineBuckets = prometheus.ExponentialBuckets(0.00005, 2, 17)

func (m *engineMetrics) onSign(kind engineKind, took time.Duration) {
	m.signed.WithLabelValues(string(kind)).Observe(took.Seconds())
}

func (m *engineMetrics) onBatch(b multibuffer.Batch) {
	m.batchSize.Observe(float64(b.Requests))
	m.batchWait.Observe(b.Waited.Seconds())
	m.batchTook.Observe(b.Took.Seconds())
}

func (m *engineMetrics) onOperation(op offload.Operation) {
	m.offWaited.Observe(op.Waited.Seconds())
	m.offTook.Observe(op.Took.Seconds())
}

func (m *engineMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors {
		c.Describe(ch)
	}
}

func (m *engineMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors {
		c.Collect(ch)
	}
}

// engineCollector reads the engines' own counters when Prometheus asks for them.
type engineCollector struct{ *engines }

var (
	engineOperations = prometheus.NewDesc("jobloop_engine_operations_total",
		"Private-key operations by engine and way: lanes (several together with AVX-512), alone (by crypto/rsa, because there were too few for a batch), direct (by crypto/rsa: unusual input, or a job that could not pause), worker (on another thread).",
		[]string{"engine", "way"}, nil)
	multibufferFallbacks = prometheus.NewDesc("jobloop_multibuffer_fallbacks_total",
		"Results that failed verification and were computed again by crypto/rsa.", nil, nil)
	multibufferUnbound = prometheus.NewDesc("jobloop_multibuffer_unbound_total",
		"Signatures in a job by a key that was not bound to the job, each computed alone.", nil, nil)
	engineCanceled = prometheus.NewDesc("jobloop_engine_canceled_total",
		"Operations whose job was canceled, by engine.", []string{"engine"}, nil)
	offloadFailed = prometheus.NewDesc("jobloop_offload_failed_total",
		"Operations that ended in an error, by reason (error, timeout, panic).", []string{"reason"}, nil)
	offloadDropped = prometheus.NewDesc("jobloop_offload_dropped_total",
		"Results that came after their job had stopped waiting.", nil, nil)
	offloadQueued = prometheus.NewDesc("jobloop_offload_queued",
		"Operations that are waiting for a worker now.", nil, nil)
	offloadRunning = prometheus.NewDesc("jobloop_offload_running",
		"Workers that are busy with an operation now.", nil, nil)
	offloadStuck = prometheus.NewDesc("jobloop_offload_stuck_workers",
		"Workers that are still busy with an operation whose timeout has passed.", nil, nil)
)

func (e engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{engineOperations, multibufferFallbacks, multibufferUnbound, engineCanceled,
		offloadFailed, offloadDropped, offloadQueued, offloadRunning, offloadStuck} {
		ch <- d
	}
}

func (e engineCollector) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	now := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	if e.multibuffer != nil {
		s, name := e.multibuffer.Stats(), string(engineMultibuffer)
		count(engineOperations, s.Operations, name, "lanes")
		count(engineOperations, s.Alone, name, "alone")
		count(engineOperations, s.Direct, name, "direct")
		count(engineCanceled, s.Canceled, name)
		count(multibufferFallbacks, s.Fallbacks)
		count(multibufferUnbound, s.Unbound)
	}
	s, name := e.offload.Stats(), string(engineOffload)
	count(engineOperations, s.Operations, name, "worker")
	count(engineCanceled, s.Canceled, name)
	count(offloadFailed, s.Errors, "error")
	count(offloadFailed, s.Timeouts, "timeout")
	count(offloadFailed, s.Panics, "panic")
	count(offloadDropped, s.Dropped)
	now(offloadQueued, s.Queued)
	now(offloadRunning, s.Running)
	now(offloadStuck, s.Stuck)
}
