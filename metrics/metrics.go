// Package metrics has collectors for Prometheus: what event loops, key engines and TLS
// handshakes tell about themselves, for a registry of your own.
//
//	handshakes := metrics.NewHandshakes()
//	server := &httploop.Server{OnHandshake: handshakes.OnHandshake, ...}
//	group, err := loop.NewGroup(2, loop.Config{})
//	...
//	registry.MustRegister(
//		metrics.Loops(group.Loops()...),
//		metrics.Multibuffer(multibuffer.Shared()), // if its keys come from multibuffer.Wrap
//		handshakes,
//	)
//
// [Loops], [Multibuffer] and [Offload] read counters when Prometheus asks for them, and
// cost nothing in between. [Handshakes], [Batches] and [Operations] record what a hook
// reports. Make them before the server or the engine, and give it their method as its hook.
//
// All of this may be called from any goroutine, and collected at any time: before a loop
// runs, while it runs, and after it has ended. A loop never waits for a scrape. Serve
// the scrapes with net/http, on goroutines, so that they are answered even if a job
// keeps a loop's thread.
//
// # Several servers in a process
//
// Two collectors of one kind have metrics of the same names, and a registry refuses the
// second. A label of yours tells them apart:
//
//	for name, ln := range listeners { // *loop.TLSListener
//		labeled := prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, registry)
//		labeled.MustRegister(metrics.Loops(ln.Loops()...))
//	}
//
// All metrics of one name need the same labels. So give such a label to all collectors of
// a kind, or to none. Multibuffer and Offload are one kind here, because they have names
// in common.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// figures are numbers that are read from a Stats, S.
type figures[S any] []figure[S]

// figure is one of them.
type figure[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(S) float64
}

func (all figures[S]) describe(ch chan<- *prometheus.Desc) {
	for _, f := range all {
		ch <- f.desc
	}
}

// collect sends what s has. The values are those of the descriptions' variable labels.
func (all figures[S]) collect(ch chan<- prometheus.Metric, s S, values ...string) {
	for _, f := range all {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.get(s), values...)
	}
}

// engineBuckets are for the times of signatures. They go from 50 µs to 3.3 s.
var engineBuckets = prometheus.ExponentialBuckets(0.00005, 2, 17)

func newHistogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}
