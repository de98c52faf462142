//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "counters", Title: "Counters", Help: "What the client counts, beside what the servers count; both must be the same.",
		New: func() Scenario { return new(counters) }, Loads: true, Usual: true, NoRounds: true,
	})
}

// counters compares what the client counts with what the servers count.
type counters struct {
	Key     string   `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	TLS     []string `name:"tls" enum:"1.3,1.2" default:"1.3,1.2" help:"TLS versions: any of ${enum}."`
	Resume  []string `enum:"full,resumed" default:"full,resumed" help:"Kinds of handshakes: any of ${enum}."`
	Count   int      `default:"2000" min:"1" help:"How many handshakes."`
	Servers []string `enum:"${https}" default:"jobloop,gnetjobs,goroutines,nethttp,nginx,haproxy" help:"Whose counters to compare: any of ${enum}."`
}

// clientCounts is what a server should have counted, as the client counts it, with
// its probe. A server also counts requests whose clients have gone.
func clientCounts(t *load.Total) peer.Counts {
	return peer.Counts{Connections: t.Begun, Handshakes: t.Handshakes, Resumed: t.Resumed, Requests: t.Requests + t.Aborted["after the request"]}
}

// mixedArgs are the flags of "tlsdemo load" for mixed clients.
var mixedArgs = []string{"--abort", "20%", "--hold", "20%:1ms-20ms"}

// countersResult is what both sides have counted in one load.
type countersResult struct {
	Server string      `json:"server"`
	What   client.Kind `json:"what"`
	Mixed  bool        `json:"mixed,omitempty"` // clients
	Client peer.Counts `json:"client"`
	Counts peer.Counts `json:"server_counts"`
	Errors int64       `json:"client_errors"`
}

func (r *countersResult) name() string {
	name := fmt.Sprintf("%s, %v", r.Server, r.What)
	if r.Mixed {
		name += ", mixed"
	}
	return name
}

func (r *countersResult) check() error {
	if r.Errors > 0 {
		return fmt.Errorf("%s: %d handshakes failed", r.name(), r.Errors)
	}
	if r.Client != r.Counts {
		return fmt.Errorf("%s: the client counts %+v, the server %+v", r.name(), r.Client, r.Counts)
	}
	return nil
}

func (c *counters) quick() { c.Count = min(c.Count, 200) }

func (c *counters) measure(ctx context.Context, r *run) error {
	peers, err := r.peers(c.Servers, c.Key)
	if err != nil {
		return err
	}
	var results []*countersResult
	var failed []error // of some servers, and nothing of the others
	for _, kind := range client.Kinds([]string{c.Key}, c.TLS, c.Resume) {
		o := peer.Options{Tickets: kind.Resumed(), Metrics: true}
		one, err := servers(ctx, r, 1, peers, c.Key, o, func(s *peer.Server) ([]*countersResult, error) {
			usual, err := c.one(ctx, r, s, kind, false)
			if err != nil {
				return nil, err
			}
			if s.Name != "jobloop" {
				return []*countersResult{usual}, nil
			}
			mixed, err := c.one(ctx, r, s, kind, true)
			return []*countersResult{usual, mixed}, err
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("%v: %w", kind, err))
		}
		for _, name := range namesOf(peers) {
			results = append(results, slices.Concat(one[name]...)...)
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.Results = results
	t, err := countersTable(results)
	r.Add(t)
	r.Notef("%d handshakes each, with one request; the client counts its probes too.", c.Count)
	r.Note("Mixed: a fifth of the clients abort at a random phase, and a fifth hold their connections. Only jobloop has them: the others count a handshake before the client's last message, as crypto/tls's VerifyConnection does, or with its request.")
	r.Note("Figures are the client's. Where the server's differs, it follows in parentheses.")
	return errors.Join(append(failed, err)...)
}

// one asks one server, before and after a load.
func (c *counters) one(ctx context.Context, r *run, s *peer.Server, kind client.Kind, mixed bool) (*countersResult, error) {
	before, err := s.Counts(ctx)
	if err != nil {
		return nil, err
	}
	args := append(kind.Args(), "--request", "/", "--count", strconv.Itoa(c.Count), "--warmup", "0s", s.Addr)
	if mixed {
		args = append(args, mixedArgs...)
	}
	got, err := r.client.Run(ctx, args...)
	if err != nil {
		return nil, err
	}
	if err := r.check(s, kind, got); err != nil {
		return nil, err
	}
	after, err := s.Counts(ctx)
	return &countersResult{s.Name, kind, mixed, clientCounts(&got.Total), after.Since(before), got.Total.Errors}, err
}

// countersTable has the client's counts, and the server's where they differ;
// that they do is an error.
func countersTable(results []*countersResult) (*report.Table, error) {
	t := &report.Table{Header: []string{"server", "connections", "handshakes", "resumed", "requests", "same"}}
	var errs []error
	for _, r := range results {
		both := func(client, server int64) string {
			if client == server {
				return strconv.FormatInt(client, 10)
			}
			return fmt.Sprintf("%d (%d)", client, server)
		}
		same := "yes"
		if err := r.check(); err != nil {
			errs = append(errs, err)
			same = "NO"
		}
		t.Add(r.name(), both(r.Client.Connections, r.Counts.Connections), both(r.Client.Handshakes, r.Counts.Handshakes),
			both(r.Client.Resumed, r.Counts.Resumed), both(r.Client.Requests, r.Counts.Requests), same)
	}
	return t, errors.Join(errs...)
}
