//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "storm", Title: "A storm of clients", Help: "Memory and time when many clients come at once.",
		New: func() Scenario { return new(storm) }, Loads: true, Usual: true,
	})
}

// storm measures what a server needs when many clients come at once, as after a
// restart: each makes a TLS handshake and a request.
type storm struct {
	Key     string        `enum:"${keys}" default:"rsa2048" help:"The servers' key: ${enum}."`
	Clients int           `default:"5000" min:"1" help:"How many clients."`
	Rounds  int           `default:"5" min:"1" help:"Rounds; in each, every server is measured once."`
	Timeout time.Duration `default:"1m" min:"1ns" help:"How long a client waits, and how long the servers let a handshake take (HAProxy at least 1m, fasthttp for ever)."`
	Servers []string      `enum:"${https}" default:"jobloop-multibuffer,jobloop,goroutines,nethttp,nginx,haproxy" help:"What to measure: any of ${enum}."`
}

// stormResult is what one server needed in one round.
type stormResult struct {
	Clients   int          `json:"clients"`
	Load      *load.Result `json:"load"` // latency is from the moment a client was due, and all were due together
	RSSBefore int64        `json:"rss_before_bytes"`
	PeakRSS   int64        `json:"peak_rss_bytes"`
}

var stormColumns = []report.Column[*stormResult]{
	{Name: "RSS before, MB", Of: func(r *stormResult) float64 { return float64(r.RSSBefore) / 1e6 }},
	{Name: "peak RSS, MB", Of: (*stormResult).peak},
	{Name: "peak KB a client", Of: func(r *stormResult) float64 { return float64(r.PeakRSS-r.RSSBefore) / float64(r.Clients) / 1000 }},
	{Name: "last served after, s", Of: (*stormResult).last},
	{Name: "p50, ms", Of: func(r *stormResult) float64 { return float64(r.Load.Latency.P50) / 1e3 }},
	{Name: "p99, ms", Of: func(r *stormResult) float64 { return float64(r.Load.Latency.P99) / 1e3 }},
	{Name: "errors", Of: func(r *stormResult) float64 { return float64(r.unserved()) }},
}

func (r *stormResult) peak() float64   { return float64(r.PeakRSS) / 1e6 }
func (r *stormResult) last() float64   { return float64(r.Load.Latency.Max) / 1e6 }
func (r *stormResult) unserved() int64 { return int64(r.Clients) - r.Load.Handshakes }

func (s *storm) quick() { s.Rounds, s.Clients = 1, 500 }

func (s *storm) measure(ctx context.Context, r *run) error {
	peers, err := r.peers(s.Servers, s.Key)
	if err != nil {
		return err
	}
	o := peer.Options{IdleTimeout: max(time.Minute, s.Timeout), HandshakeTimeout: s.Timeout}
	results, failed := servers(ctx, r, s.Rounds, peers, s.Key, o, func(srv *peer.Server) (*stormResult, error) { return s.strike(ctx, r, srv) })
	if len(results) == 0 {
		return failed
	}
	r.Results = results
	names := namesOf(peers)
	r.Add(serverTable(s.Key, "server", names, results, stormColumns))
	r.AddBars("storm-memory", fmt.Sprintf("Peak memory when %d clients come at once", s.Clients), "MB", names, false, report.NewBar("", names, results, (*stormResult).peak))
	r.AddBars("storm-time", fmt.Sprintf("Time until the last of %d clients was served", s.Clients), "s", names, false, report.NewBar("", names, results, (*stormResult).last))
	r.Notef("%s, %d clients at once, %s for each server in turn, a fresh process each: median (least–greatest).", s.Key, s.Clients, roundsText(s.Rounds))
	r.Note("Each client makes a full TLS 1.3 handshake (X25519) and one request. Latency is from the moment all were due to the end of the answer. Peak RSS is VmHWM in /proc/PID/status.")
	r.noteStorm(names, results)
	return failed
}

// strike lets all clients go.
func (s *storm) strike(ctx context.Context, r *run, srv *peer.Server) (*stormResult, error) {
	// The first connection has costs that do not come again: it is not measured.
	if _, err := r.client.Run(ctx, s.clients(srv, 1)...); err != nil {
		return nil, err
	}
	before, err := process.RSS(srv.PID())
	if err != nil {
		return nil, err
	}
	res, err := r.client.Run(ctx, s.clients(srv, s.Clients)...)
	if err != nil {
		return nil, err
	}
	peak, err := process.PeakRSS(srv.PID())
	if err != nil {
		return nil, err
	}
	if res.Handshakes == 0 {
		return nil, errors.New("no client was served: " + failures(res))
	}
	res.Series, res.Distribution = nil, nil
	return &stormResult{s.Clients, res, before, peak}, r.check(srv, client.Full(s.Key), res)
}

// atOnce is a rate, per second, at which all clients are due together.
const atOnce = "1000000"

// clients are the arguments of a load of n clients at once. It is an open loop,
// in which latency counts from the moment a client was due.
func (s *storm) clients(srv *peer.Server, n int) []string {
	return append(client.Full(s.Key).Args(), "--rate", atOnce, "--connections", strconv.Itoa(n), "--count", strconv.Itoa(n), "--warmup", "0s", "--ramp", "0s",
		"--timeout", s.Timeout.String(), "--request", "/", "--reset", srv.Addr)
}

// noteStorm says which figures are not what they seem.
func (r *run) noteStorm(names []string, results map[string][]*stormResult) {
	for _, name := range names {
		for i, res := range results[name] {
			where := fmt.Sprintf("%s, round %d", name, i+1)
			if res.Load.MaxInFlight < res.Clients*9/10 { // those few are no great loss
				begun := 0.0
				if d := res.Load.StartDelay; d != nil {
					begun = float64(d.Max) / 1e6
				}
				r.Notef("%s: only %d clients were there at a time. The first were served before the client's core had begun the last, after %s s.", where, res.Load.MaxInFlight, report.Figure(begun))
			}
			if n := res.unserved(); n > 0 {
				r.Notef("%s: %d of %d clients were not served: %s.", where, n, res.Clients, kinds(res.Load.ErrorsByKind, res.Load.ErrorExamples))
			}
		}
	}
}
