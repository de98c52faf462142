package metrics

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobloop/jobloop/loop"
)

// Handshakes counts TLS handshakes by version and result (jobloop_handshakes_total), and
// has a histogram of how long those took that succeeded (jobloop_handshake_seconds). It
// is a prometheus.Collector. It is made by NewHandshakes, and any number of servers and
// loops may feed it.
type Handshakes struct {
	total *prometheus.CounterVec
	took  prometheus.Histogram
}

// NewHandshakes returns a Handshakes that has counted nothing.
func NewHandshakes() *Handshakes {
	return &Handshakes{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobloop_handshakes_total",
			Help: "Handshakes by TLS version (none: failed before a version was chosen) and result (full, resumed, timeout, closed, gone, shed, shutdown, error).",
		}, []string{"version", "result"}),
		took: newHistogram("jobloop_handshake_seconds",
			"Time of successful handshakes, from the beginning of the connection (with event loops on Linux; otherwise from its accept) to the end of the handshake.",
			prometheus.ExponentialBuckets(0.0005, 2, 15)), // 0.5 ms to 8 s
	}
}

// OnHandshake is for the hook of that name of loop.TLSHandler, loop.TLSListenConfig and
// httploop.Server. It does not wait. A hook of your own may call it:
//
//	server.OnHandshake = func(c *loop.TLSConn, took time.Duration, err error) {
//		handshakes.OnHandshake(c, took, err)
//		...
//	}
func (h *Handshakes) OnHandshake(c *loop.TLSConn, took time.Duration, err error) {
	h.Observe(c.ConnectionState(), took, err)
}

// Observe is OnHandshake for handshakes that were not made on a loop. It gets the state of
// the connection after the handshake, and the handshake's error or nil. It may be called
// from any goroutine.
func (h *Handshakes) Observe(state tls.ConnectionState, took time.Duration, err error) {
	version := "none"
	if state.Version != 0 {
		version = strings.TrimPrefix(tls.VersionName(state.Version), "TLS ")
	}
	h.total.WithLabelValues(version, result(state, err)).Inc()
	if err == nil {
		h.took.Observe(took.Seconds())
	}
}

// result names the outcome of a handshake.
func result(state tls.ConnectionState, err error) string {
	switch {
	case err == nil && state.DidResume:
		return "resumed"
	case err == nil:
		return "full"
	case errors.Is(err, loop.ErrShutdown):
		return "shutdown"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed" // by the peer
	case errors.Is(err, loop.ErrOverloaded):
		return "shed"
	case errors.Is(err, loop.ErrClientGone):
		return "gone"
	}
	return "error"
}

// Describe is that of prometheus.Collector.
func (h *Handshakes) Describe(ch chan<- *prometheus.Desc) {
	h.total.Describe(ch)
	h.took.Describe(ch)
}

// Collect is that of prometheus.Collector.
func (h *Handshakes) Collect(ch chan<- prometheus.Metric) {
	h.total.Collect(ch)
	h.took.Collect(ch)
}
