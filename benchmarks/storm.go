//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// storm is the part that measures what a server needs when many clients come at
// once, as after a restart: each makes a TLS handshake and a request.
type storm struct {
	options
	Key     string        `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048" help:"The servers' key: ${enum}."`
	Clients int           `default:"5000" help:"How many clients."`
	Rounds  int           `default:"5" help:"Rounds; in each, every server is measured once."`
	Timeout time.Duration `default:"1m" help:"How long a client waits, and how long the servers let a handshake take (HAProxy at least 1m, fasthttp for ever)."`
	Servers []string      `enum:"jobloop-multibuffer,jobloop,jobloop-offload,goroutines,nethttp,fasthttp,nginx,haproxy" default:"jobloop-multibuffer,jobloop,goroutines,nethttp,nginx,haproxy" help:"What to measure, of ${enum}."`
}

// stormResult is what one server needed in one round.
type stormResult struct {
	Clients   int               `json:"clients"`
	Served    int64             `json:"served"`
	Errors    map[string]int64  `json:"errors_by_kind,omitempty"`
	Examples  map[string]string `json:"error_examples,omitempty"`
	InFlight  int               `json:"max_in_flight"` // clients at a time, the most there were
	RSSBefore int64             `json:"rss_before_bytes"`
	PeakRSS   int64             `json:"peak_rss_bytes"`
	Last      float64           `json:"last_served_s"` // after the moment at which all were due
	Latency   load.Percentiles  `json:"latency_us"`
	Begun     load.Percentiles  `json:"start_delay_us"` // when the client had begun them
}

var stormColumns = []measured[*stormResult]{
	{"RSS before, MB", func(r *stormResult) float64 { return float64(r.RSSBefore) / 1e6 }},
	{"peak RSS, MB", (*stormResult).peak},
	{"peak KB a client", (*stormResult).perClient},
	{"last served after, s", (*stormResult).last},
	{"p50, ms", func(r *stormResult) float64 { return float64(r.Latency.P50) / 1e3 }},
	{"p99, ms", func(r *stormResult) float64 { return float64(r.Latency.P99) / 1e3 }},
	{"errors", func(r *stormResult) float64 { return float64(int64(r.Clients) - r.Served) }},
}

func (r *stormResult) peak() float64 { return float64(r.PeakRSS) / 1e6 }
func (r *stormResult) last() float64 { return r.Last }
func (r *stormResult) perClient() float64 {
	return float64(r.PeakRSS-r.RSSBefore) / float64(r.Clients) / 1000
}

func (s *storm) Run(ctx context.Context) error {
	if s.Quick {
		s.Rounds, s.Clients = 1, 500
	}
	if s.Clients < 1 {
		return fmt.Errorf("--clients: %d, at least 1 is needed", s.Clients)
	}
	r, err := s.newReport("storm")
	if err != nil {
		return err
	}
	names, notes, err := runnableOrError(s.Servers, s.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		contenders, err := s.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		client, err := s.loadProgram(ctx, dir)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, s.Key)
		if err != nil {
			return err
		}
		results := make(map[string][]*stormResult)
		what := s.what()
		var same agreement
		failed := rounds(ctx, s.Rounds, contenders, func(c contender) error {
			cert, err := keys.certificate()
			if err != nil {
				return err
			}
			return c.with(ctx, serverOptions{cert: cert, cpu: s.ServerCPU, idleTimeout: max(time.Minute, s.Timeout), handshake: s.Timeout}, func(srv *server) error {
				res, err := s.strike(ctx, client, srv, func(res *load.Result) error { return same.check(srv.name, what, res, cert) })
				if err == nil {
					results[c.name] = append(results[c.name], res)
				}
				return err
			})
		})
		if len(results) == 0 {
			return failed
		}
		t := &bench.Table{Header: headings(stormColumns, "server")}
		addServers(t, "", names, results, stormColumns)
		r.Results = results
		plotStorm(r, names, s.Clients, results)
		notes = append(notes,
			fmt.Sprintf("%s, %d clients at once, %d rounds for each server in turn, a fresh process each: median (least–greatest).", s.Key, s.Clients, s.Rounds),
			"Each client makes a full TLS 1.3 handshake (X25519) and one request; latency is from the moment all were due to the end of the answer. Peak RSS is VmHWM in /proc/PID/status.")
		return errors.Join(r.finish(&s.options, append(notes, stormWarnings(names, results)...), t), failed)
	})
}

// what is the kind of handshake that all clients make.
func (s *storm) what() combination { return combination{s.Key, "1.3", "full"} }

// strike lets all clients go. check tells whether they reached the server.
func (s *storm) strike(ctx context.Context, client string, srv *server, check func(*load.Result) error) (*stormResult, error) {
	// What the first connection costs, the program costs.
	if _, err := s.load(ctx, client, s.clients(srv, 1)...); err != nil {
		return nil, err
	}
	before, err := bench.RSS(srv.pid())
	if err != nil {
		return nil, err
	}
	res, err := s.load(ctx, client, s.clients(srv, s.Clients)...)
	if err != nil {
		return nil, err
	}
	peak, err := bench.PeakRSS(srv.pid())
	if err != nil {
		return nil, err
	}
	if res.Handshakes == 0 {
		return nil, fmt.Errorf("none of %d clients was served: %v", s.Clients, res.ErrorExamples)
	}
	if err := check(res); err != nil {
		return nil, err
	}
	begun := load.Percentiles{}
	if res.StartDelay != nil {
		begun = *res.StartDelay
	}
	return &stormResult{
		Clients: s.Clients, Served: res.Handshakes, Errors: res.ErrorsByKind, Examples: res.ErrorExamples, InFlight: res.MaxInFlight,
		RSSBefore: before, PeakRSS: peak, Latency: res.Latency, Begun: begun,
		Last: float64(res.Latency.Max) / 1e6, // all were due in the same few milliseconds
	}, nil
}

// atOnce is a rate, per second, at which all clients are due together.
const atOnce = "1000000"

// clients are the arguments of a load of n clients at once. It is an open loop,
// in which latency counts from the moment a client was due.
func (s *storm) clients(srv *server, n int) []string {
	return append(s.what().args(), "--rate", atOnce, "--connections", strconv.Itoa(n), "--count", strconv.Itoa(n), "--warmup", "0s", "--ramp", "0s",
		"--timeout", s.Timeout.String(), "--request", "/", "--reset", srv.addr)
}

// stormWarnings says which figures are not what they seem.
func stormWarnings(names []string, results map[string][]*stormResult) []string {
	var notes []string
	for _, name := range names {
		for i, r := range results[name] {
			if r.InFlight < r.Clients*9/10 { // those few are no great loss
				notes = append(notes, fmt.Sprintf("%s, round %d: only %d clients were there at a time: the first were served before the client's core had begun the last, after %s s.",
					name, i+1, r.InFlight, bench.Figure(float64(r.Begun.Max)/1e6)))
			}
			if r.Served < int64(r.Clients) {
				notes = append(notes, fmt.Sprintf("%s, round %d: %d of %d clients were not served: %s.", name, i+1, int64(r.Clients)-r.Served, r.Clients, kinds(r.Errors, r.Examples)))
			}
		}
	}
	return notes
}
