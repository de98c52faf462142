//go:build linux

package peer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

func init() {
	named := func(name string, runnable func(string) error) info {
		return info{name, true, []Protocol{HTTPS}, runnable}
	}
	register(&jobloop{info: named("jobloop", nil), engine: "none"})
	register(&jobloop{info: named("jobloop-multibuffer", multibufferRuns), engine: "multibuffer"})
	register(&jobloop{info: named("jobloop-multibuffer-worker", multibufferRuns), engine: "multibuffer", flags: []string{"--engine-on-worker"}, workers: 1})
	// With one thread, its worker would have to wait until the loop's thread sleeps.
	register(&jobloop{info: named("jobloop-offload", nil), engine: "offload", flags: []string{"--engine-workers", "1"}, workers: 1})
}

// jobloop is tlsdemo serve with a key engine, and a loop for each thread. Clients
// that ask for tickets get them. Those of crypto/tls do not ask where sessions are
// not to be resumed, but wrk does.
type jobloop struct {
	info
	engine  string
	flags   []string
	workers int // threads that the engine computes on
}

func (j *jobloop) Start(ctx context.Context, o Options) (*Server, error) {
	if o.Tlsdemo == "" {
		var err error
		if o.Tlsdemo, err = process.BuildTlsdemo(ctx, o.Dir); err != nil {
			return nil, err
		}
	}
	args := append([]string{"serve", "--addr", "127.0.0.1:0", "--loops", strconv.Itoa(o.Threads), "--engine", j.engine, "--cert", o.Cert.File,
		"--keyfile", o.Cert.File, "--idle-timeout", o.IdleTimeout.String(),
		"--handshake-timeout", o.HandshakeTimeout.String(), "--request-timeout", o.HandshakeTimeout.String()}, j.flags...)
	metrics := ""
	if o.Metrics {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		args = append(args, "--metrics", addr)
		metrics = "http://" + addr + "/metrics"
	}
	o.Workers = max(o.Workers, j.workers)
	s, err := start(ctx, j.name, o, "", o.Tlsdemo, args...)
	if err != nil {
		return nil, err
	}
	if o.Metrics {
		s.Metrics = metrics
		s.Counts = func(ctx context.Context) (Counts, error) {
			m, err := Scrape(ctx, metrics)
			return jobloopCounts(m), err
		}
		s.State = func(ctx context.Context) (State, error) { return scrapeState(ctx, metrics, j.engine) }
	}
	// It serves without the engine too, if it has to.
	if !strings.Contains(s.Said, "engine: "+j.engine+" ") {
		return nil, errors.Join(fmt.Errorf("it serves without the engine %s: %s", j.engine, s.Said), s.stop())
	}
	return s, nil
}

// oldHandshakes is the name that jobloop_handshakes_total had before package metrics, in
// older builds given as --tlsdemo.
const oldHandshakes = "tlsdemo_handshakes_total"

// jobloopCounts picks the counters from tlsdemo's metrics, which count handshakes
// by their result.
func jobloopCounts(m map[string]float64) Counts {
	c := Counts{Connections: int64(m["jobloop_accepted_total"]), Requests: int64(m["tlsdemo_http_responses_total"])}
	for series, v := range m {
		name, labels, _ := strings.Cut(series, "{")
		resumed := strings.Contains(labels, `result="resumed"`)
		if name != "jobloop_handshakes_total" && name != oldHandshakes || !resumed && !strings.Contains(labels, `result="full"`) {
			continue
		}
		c.Handshakes += int64(v)
		if resumed {
			c.Resumed += int64(v)
		}
	}
	return c
}
