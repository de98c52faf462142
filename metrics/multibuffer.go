package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// Multibuffer returns a collector of an engine's counters, which are those of
// multibuffer.Stats: signatures by the way in which they were made, and how many were made
// together.
//
// For keys of multibuffer.Wrap the engine is multibuffer.Shared(). That is nil where the
// package cannot be used, and the counters of a nil engine stay 0.
func Multibuffer(e *multibuffer.Engine) prometheus.Collector { return multibufferCollector{e} }

type multibufferCollector struct{ engine *multibuffer.Engine }

func (multibufferCollector) Describe(ch chan<- *prometheus.Desc) {
	multibufferFigures.describe(ch)
	ch <- batchSizeDesc
}

func (c multibufferCollector) Collect(ch chan<- prometheus.Metric) {
	collectMultibuffer(ch, c.engine.Stats())
}

func collectMultibuffer(ch chan<- prometheus.Metric, s multibuffer.Stats) {
	multibufferFigures.collect(ch, s)
	ch <- batchSizes(s)
}

const multibufferName = "multibuffer" // in the label "engine"

var multibufferFigures = figures[multibuffer.Stats]{
	{operations(multibufferName, "lanes"), prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Operations) }},
	{operations(multibufferName, "alone"), prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Alone) }},
	{operations(multibufferName, "direct"), prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Direct) }},
	{canceled(multibufferName), prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Canceled) }},
	{prometheus.NewDesc("jobloop_multibuffer_fallbacks_total", "Results that failed verification and were computed again by crypto/rsa.", nil, nil),
		prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Fallbacks) }},
	{prometheus.NewDesc("jobloop_multibuffer_unbound_total", "Signatures in a job by a key that was not bound to the job, each computed alone.", nil, nil),
		prometheus.CounterValue, func(s multibuffer.Stats) float64 { return float64(s.Unbound) }},
	{prometheus.NewDesc("jobloop_multibuffer_waited_seconds_total", "Time from a call of Sign to its result, summed over all signatures in batches.", nil, nil),
		prometheus.CounterValue, func(s multibuffer.Stats) float64 { return s.Waited.Seconds() }},
}

// Both engines have the following metrics. A registry wants their texts to be the same.

func operations(engine, way string) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_engine_operations_total",
		"Private-key operations by engine and way: lanes (several together with AVX-512), alone (by crypto/rsa, because there were too few for a batch), direct (by crypto/rsa: unusual input, or a job that could not pause), worker (on another thread).",
		nil, prometheus.Labels{"engine": engine, "way": way})
}

func canceled(engine string) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_engine_canceled_total", "Operations whose job was canceled, or whose context ended, by engine.",
		nil, prometheus.Labels{"engine": engine})
}

var batchSizeDesc = prometheus.NewDesc("jobloop_multibuffer_batch_size", "Signatures computed together.", nil, nil)

func batchSizes(s multibuffer.Stats) prometheus.Metric {
	buckets := make(map[float64]uint64)
	var batches, signatures uint64
	for size, n := range s.BatchSizes {
		batches += n
		signatures += uint64(size) * n
		if size > 0 {
			buckets[float64(size)] = batches
		}
	}
	return prometheus.MustNewConstHistogram(batchSizeDesc, batches, float64(signatures), buckets)
}

// Batches has histograms of how long an engine's batches waited and took. It is a
// prometheus.Collector. It is made by NewBatches before the engine, and fed by the
// engine's hook:
//
//	batches := metrics.NewBatches()
//	e, err := multibuffer.New(multibuffer.Config{OnBatch: batches.OnBatch})
//	...
//	registry.MustRegister(metrics.Multibuffer(e), batches)
type Batches struct{ waited, took prometheus.Histogram }

// NewBatches returns a Batches that has seen nothing.
func NewBatches() *Batches {
	return &Batches{
		waited: newHistogram("jobloop_multibuffer_batch_wait_seconds", "Time from a batch's first call of Sign until the batch is computed.", engineBuckets),
		took:   newHistogram("jobloop_multibuffer_batch_seconds", "Time to compute a batch.", engineBuckets),
	}
}

// OnBatch is for the hook of that name of multibuffer.Config. It does not wait, and may be
// called from any goroutine.
func (b *Batches) OnBatch(batch multibuffer.Batch) {
	b.waited.Observe(batch.Waited.Seconds())
	b.took.Observe(batch.Took.Seconds())
}

// Describe is that of prometheus.Collector.
func (b *Batches) Describe(ch chan<- *prometheus.Desc) {
	b.waited.Describe(ch)
	b.took.Describe(ch)
}

// Collect is that of prometheus.Collector.
func (b *Batches) Collect(ch chan<- prometheus.Metric) {
	b.waited.Collect(ch)
	b.took.Collect(ch)
}
