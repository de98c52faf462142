package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobloop/jobloop/engine/offload"
)

// Offload returns a collector of an engine's counters, which are those of offload.Stats:
// operations, why some failed, and what its workers do. It panics if e is nil.
func Offload(e *offload.Engine) prometheus.Collector {
	if e == nil {
		panic("metrics: Offload: the engine is nil")
	}
	return offloadCollector{e}
}

type offloadCollector struct{ engine *offload.Engine }

func (offloadCollector) Describe(ch chan<- *prometheus.Desc) { offloadFigures.describe(ch) }

func (c offloadCollector) Collect(ch chan<- prometheus.Metric) {
	offloadFigures.collect(ch, c.engine.Stats())
}

const offloadName = "offload" // in the label "engine"

var offloadFigures = figures[offload.Stats]{
	{operations(offloadName, "worker"), prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Operations) }},
	{canceled(offloadName), prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Canceled) }},
	{failed("error"), prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Errors) }},
	{failed("timeout"), prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Timeouts) }},
	{failed("panic"), prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Panics) }},
	{prometheus.NewDesc("jobloop_offload_dropped_total", "Results that came after their job had stopped waiting.", nil, nil),
		prometheus.CounterValue, func(s offload.Stats) float64 { return float64(s.Dropped) }},
	{prometheus.NewDesc("jobloop_offload_queued", "Operations that are waiting for a worker now.", nil, nil),
		prometheus.GaugeValue, func(s offload.Stats) float64 { return float64(s.Queued) }},
	{prometheus.NewDesc("jobloop_offload_running", "Workers that are busy with an operation now.", nil, nil),
		prometheus.GaugeValue, func(s offload.Stats) float64 { return float64(s.Running) }},
	{prometheus.NewDesc("jobloop_offload_stuck_workers", "Workers that are still busy with an operation whose timeout has passed.", nil, nil),
		prometheus.GaugeValue, func(s offload.Stats) float64 { return float64(s.Stuck) }},
}

func failed(reason string) *prometheus.Desc {
	return prometheus.NewDesc("jobloop_offload_failed_total", "Operations that ended in an error, by reason (error, timeout, panic).",
		nil, prometheus.Labels{"reason": reason})
}

// Operations has histograms of how long an engine's operations waited and took. It is a
// prometheus.Collector. It is made by NewOperations before the engine, and fed by the
// engine's hook:
//
//	operations := metrics.NewOperations()
//	e, err := offload.New(offload.Config{OnOperation: operations.OnOperation})
//	...
//	registry.MustRegister(metrics.Offload(e), operations)
type Operations struct{ waited, took prometheus.Histogram }

// NewOperations returns an Operations that has seen nothing.
func NewOperations() *Operations {
	return &Operations{
		waited: newHistogram("jobloop_offload_wait_seconds", "Time that an operation waited for a worker.", engineBuckets),
		took:   newHistogram("jobloop_offload_seconds", "Time that a worker took for an operation. It is 0 if the operation ended before.", engineBuckets),
	}
}

// OnOperation is for the hook of that name of offload.Config. It does not wait, and may be
// called from any goroutine.
func (o *Operations) OnOperation(op offload.Operation) {
	o.waited.Observe(op.Waited.Seconds())
	o.took.Observe(op.Took.Seconds())
}

// Describe is that of prometheus.Collector.
func (o *Operations) Describe(ch chan<- *prometheus.Desc) {
	o.waited.Describe(ch)
	o.took.Describe(ch)
}

// Collect is that of prometheus.Collector.
func (o *Operations) Collect(ch chan<- prometheus.Metric) {
	o.waited.Collect(ch)
	o.took.Collect(ch)
}
