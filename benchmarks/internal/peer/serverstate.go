//go:build linux

package peer

import (
	"context"
	"fmt"
	"runtime"
)

// State is what a server holds and what it has done, by the names below. It has
// those that apply to the server.
type State map[string]float64

// What is in a State.
const (
	Goroutines  = "goroutines"  // with those that tell the state
	Connections = "connections" // open ones; not counted by gnet without TLS

	// Of servers that run jobs.
	JobsPaused   = "jobs paused"
	JobsQueued   = "jobs queued"
	JobsAlive    = "jobs started and not finished"
	Coroutines   = "coroutines in the pool"
	JobsStarted  = "jobs started"
	JobsPanicked = "jobs panicked"

	// Of servers with an engine. Only the multi-buffer engine has the last three.
	Operations = "engine's operations"
	Batches    = "engine's batches"
	Fallbacks  = "engine's fallbacks"
	Unbound    = "engine's unbound signatures"
)

// state is that of a server in Go.
func (s *Serve) state() State {
	closed := s.counts.closed.Load() // first: each has been counted as accepted by then
	m := State{
		Goroutines:  float64(runtime.NumGoroutine()),
		Connections: float64(s.counts.connections.Load() - closed),
	}
	if e := s.engine.Load(); e != nil {
		stats := e.Stats()
		m[Operations], m[Batches] = float64(stats.Operations), float64(stats.Batches)
		m[Fallbacks], m[Unbound] = float64(stats.Fallbacks), float64(stats.Unbound)
	}
	return m
}

const jobsFinished = "jobs finished" // makes JobsAlive

// jobloopMetrics are the metrics of tlsdemo that make its state.
var jobloopMetrics = map[string]string{
	Goroutines: "go_goroutines", Connections: "jobloop_connections", JobsPaused: "jobloop_jobs_paused", JobsQueued: "jobloop_jobs_queued",
	Coroutines: "jobloop_pool_size", JobsStarted: "jobloop_jobs_started_total", JobsPanicked: "jobloop_jobs_panicked_total",
	jobsFinished: "jobloop_jobs_finished_total",
}

// engineMetrics are those of tlsdemo's engines.
var engineMetrics = map[string]map[string]string{
	"multibuffer": {
		Operations: `jobloop_engine_operations_total{engine="multibuffer",way="lanes"}`, Batches: "jobloop_multibuffer_batch_size_count",
		Fallbacks: "jobloop_multibuffer_fallbacks_total", Unbound: "jobloop_multibuffer_unbound_total",
	},
	"offload": {Operations: `jobloop_engine_operations_total{engine="offload",way="worker"}`},
}

// jobloopState picks the state of tlsdemo with an engine from its metrics. That one
// is missing is an error, because it would look like 0.
func jobloopState(metrics map[string]float64, engine string) (State, error) {
	m := make(State)
	for _, names := range []map[string]string{jobloopMetrics, engineMetrics[engine]} {
		for name, metric := range names {
			v, ok := metrics[metric]
			if !ok {
				return nil, fmt.Errorf("tlsdemo has no metric %s", metric)
			}
			m[name] = v
		}
	}
	m[JobsAlive] = m[JobsStarted] - m[jobsFinished]
	delete(m, jobsFinished)
	return m, nil
}

// scrapeState reads the state of tlsdemo with an engine.
func scrapeState(ctx context.Context, url, engine string) (State, error) {
	m, err := Scrape(ctx, url)
	if err != nil {
		return nil, err
	}
	return jobloopState(m, engine)
}
