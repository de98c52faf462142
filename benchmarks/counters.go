//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// counters is the part that compares what the client counts with what the
// servers count.
type counters struct {
	options
	Key     string   `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	TLS     []string `name:"tls" enum:"1.3,1.2" default:"1.3,1.2" help:"TLS versions, of ${enum}."`
	Resume  []string `enum:"full,resumed" default:"full,resumed" help:"Kinds of handshakes, of ${enum}."`
	Count   int      `default:"2000" help:"How many handshakes."`
	Servers []string `enum:"jobloop,jobloop-multibuffer,jobloop-offload,goroutines,goroutines-frugal,nethttp,fasthttp,nginx,haproxy" default:"jobloop,goroutines,nethttp,nginx,haproxy" help:"What to ask, of ${enum}."`
}

// serverCounts is what a server counts of its clients: it, and not what reads
// the counters.
type serverCounts struct {
	Connections int64 `json:"connections"`
	Handshakes  int64 `json:"handshakes"` // that were completed
	Resumed     int64 `json:"resumed"`    // of these
	Requests    int64 `json:"requests"`
}

func (c serverCounts) since(before serverCounts) serverCounts {
	return serverCounts{
		c.Connections - before.Connections, c.Handshakes - before.Handshakes,
		c.Resumed - before.Resumed, c.Requests - before.Requests,
	}
}

// clientCounts is the same as the client counts it, with its probe.
func clientCounts(t *load.Total) serverCounts {
	return serverCounts{t.Begun, t.Handshakes, t.Resumed, t.Requests}
}

// countersResult is what both sides have counted in one load.
type countersResult struct {
	Server string       `json:"server"`
	What   combination  `json:"what"`
	Client serverCounts `json:"client"`
	Counts serverCounts `json:"server_counts"`
	Errors int64        `json:"client_errors"`
}

func (r *countersResult) check() error {
	if r.Errors > 0 {
		return fmt.Errorf("%s, %v: %d handshakes failed", r.Server, r.What, r.Errors)
	}
	if r.Client != r.Counts {
		return fmt.Errorf("%s, %v: the client counts %+v, the server %+v", r.Server, r.What, r.Client, r.Counts)
	}
	return nil
}

func (c *counters) Run(ctx context.Context) error {
	if c.Quick {
		c.Count = min(c.Count, 200)
	}
	if c.Count < 1 {
		return fmt.Errorf("--count: %d, at least 1 is needed", c.Count)
	}
	r, err := c.newReport("counters")
	if err != nil {
		return err
	}
	names, notes, err := runnableOrError(c.Servers, c.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		program, err := c.loadProgram(ctx, dir)
		if err != nil {
			return err
		}
		contenders, err := c.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, c.Key)
		if err != nil {
			return err
		}
		var results []*countersResult
		var failed []error // of some servers, and nothing of the others
		for _, what := range combinations([]string{c.Key}, c.TLS, c.Resume) {
			var same agreement
			err := rounds(ctx, 1, contenders, func(contender contender) error {
				res, err := c.count(ctx, contender, keys, program, what, &same)
				if err == nil {
					results = append(results, res)
				}
				return err
			})
			if err != nil {
				failed = append(failed, fmt.Errorf("%v: %w", what, err))
			}
			if ctx.Err() != nil {
				break
			}
		}
		r.Results = results
		t, err := countersTable(results)
		notes = append(notes,
			fmt.Sprintf("%d handshakes each, with one request; the client counts its probes too.", c.Count),
			"Figures are the client's; where the server's differs, it follows in parentheses.")
		return errors.Join(append(failed, r.finish(&c.options, notes, t), err)...)
	})
}

func (c *counters) count(ctx context.Context, contender contender, keys *keys, program string, what combination, same *agreement) (*countersResult, error) {
	cert, err := keys.certificate()
	if err != nil {
		return nil, err
	}
	res := &countersResult{Server: contender.name, What: what}
	opts := serverOptions{cert: cert, cpu: c.ServerCPU, idleTimeout: time.Minute, tickets: what.resumed(), metrics: true}
	return res, contender.with(ctx, opts, func(s *server) error {
		before, err := s.counts(ctx)
		if err != nil {
			return err
		}
		l, err := c.load(ctx, program, append(what.args(), "--request", "/", "--count", strconv.Itoa(c.Count), "--warmup", "0s", s.addr)...)
		if err != nil {
			return err
		}
		if err := same.check(s.name, what, l, cert); err != nil {
			return err
		}
		after, err := s.counts(ctx)
		if err != nil {
			return err
		}
		res.Client, res.Counts, res.Errors = clientCounts(&l.Total), after.since(before), l.Total.Errors
		return nil
	})
}

// countersTable has the client's counts, and the server's where they differ;
// that they do is an error.
func countersTable(results []*countersResult) (*bench.Table, error) {
	t := &bench.Table{Header: []string{"server", "connections", "handshakes", "resumed", "requests", "same"}}
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
		t.Add(fmt.Sprintf("%s, %v", r.Server, r.What), both(r.Client.Connections, r.Counts.Connections), both(r.Client.Handshakes, r.Counts.Handshakes),
			both(r.Client.Resumed, r.Counts.Resumed), both(r.Client.Requests, r.Counts.Requests), same)
	}
	return t, errors.Join(errs...)
}

// scrapeCounts reads the counters of a server in Go.
func scrapeCounts(ctx context.Context, url string, counts func(map[string]float64) serverCounts) (serverCounts, error) {
	m, err := scrape(ctx, url)
	if err != nil {
		return serverCounts{}, err
	}
	return counts(m), nil
}

// peerCounts picks them from a peer's metrics.
func peerCounts(m map[string]float64) serverCounts {
	return serverCounts{
		Connections: int64(m["peer_connections_total"]),
		Handshakes:  int64(m["peer_handshakes_total"]),
		Resumed:     int64(m["peer_resumed_total"]),
		Requests:    int64(m["peer_requests_total"]),
	}
}

// jobloopCounts picks them from tlsdemo's metrics, which count handshakes by
// their result.
func jobloopCounts(m map[string]float64) serverCounts {
	c := serverCounts{
		Connections: int64(m["jobloop_accepted_total"]),
		Requests:    int64(m["tlsdemo_http_responses_total"]),
	}
	for series, v := range m {
		if !strings.HasPrefix(series, "tlsdemo_handshakes_total{") {
			continue
		}
		switch {
		case strings.Contains(series, `result="resumed"`):
			c.Handshakes += int64(v)
			c.Resumed += int64(v)
		case strings.Contains(series, `result="full"`):
			c.Handshakes += int64(v)
		}
	}
	return c
}
