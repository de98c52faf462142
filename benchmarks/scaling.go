//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// scaling is the part that measures whether a handshake costs more where there
// are many, and whether a second loop makes twice as many.
type scaling struct {
	options
	Keys        []string      `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048,ecdsa-p256" help:"The servers' keys, of ${enum}."`
	Connections []int         `default:"1,10,100,1000,10000" help:"Connections at a time."`
	Threads     []int         `default:"1,2" help:"Loops of our server, GOMAXPROCS of those in Go, threads of haproxy, workers of nginx; with --threads-connections."`
	Beside      int           `name:"threads-connections" default:"64" help:"Connections at a time with each number of --threads."`
	Handshakes  int           `default:"5000" help:"Handshakes of a server in a round; more where there would be fewer than two for each connection."`
	Rounds      int           `default:"3" help:"Rounds; in each, every server is measured once."`
	Timeout     time.Duration `default:"1m" help:"How long a client waits, and how long the servers let a handshake take (HAProxy at least 1m, fasthttp for ever)."`
	Servers     []string      `enum:"jobloop-multibuffer,jobloop,jobloop-offload,goroutines,nethttp,fasthttp,nginx,haproxy" default:"jobloop-multibuffer,jobloop,goroutines,nginx,haproxy" help:"What to measure, of ${enum}."`
}

// scalingResult is what one server did in one round.
type scalingResult struct {
	Handshakes int64             `json:"handshakes"`
	All        int64             `json:"all_handshakes"` // with the client's probe, and those that failed later
	Errors     map[string]int64  `json:"errors_by_kind,omitempty"`
	Examples   map[string]string `json:"error_examples,omitempty"`
	Elapsed    float64           `json:"duration_s"`
	ServerCPU  time.Duration     `json:"server_cpu_ns"`
	ClientBusy float64           `json:"client_busy"`
	Latency    load.Percentiles  `json:"latency_us"`
}

func (r *scalingResult) rate() float64 { return float64(r.Handshakes) / r.Elapsed }
func (r *scalingResult) cpu() float64 {
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / float64(r.All)
}
func (r *scalingResult) cores() float64 { return r.ServerCPU.Seconds() / r.Elapsed }
func (r *scalingResult) p99() float64   { return float64(r.Latency.P99) / 1e3 }
func (r *scalingResult) errors() (n int64) {
	for _, k := range r.Errors {
		n += k
	}
	return n
}

var scalingColumns = []measured[*scalingResult]{
	{"server CPU, µs each", (*scalingResult).cpu},
	{"handshakes/s", (*scalingResult).rate},
	{"cores used", (*scalingResult).cores},
	{"p50, ms", func(r *scalingResult) float64 { return float64(r.Latency.P50) / 1e3 }},
	{"p99, ms", (*scalingResult).p99},
	{"errors", func(r *scalingResult) float64 { return float64(r.errors()) }},
}

// scalingPoint is the results of all servers with one key, so many connections
// at a time and so many threads.
type scalingPoint struct {
	Key         string                      `json:"key"`
	Connections int                         `json:"connections"`
	Threads     int                         `json:"threads"`
	Results     map[string][]*scalingResult `json:"results"` // by server
}

// what is the kind of handshake that all clients make.
func (p *scalingPoint) what() combination { return combination{p.Key, "1.3", "full"} }

// scalingResults are all points, in the order they were measured.
type scalingResults struct {
	ByConnections []*scalingPoint `json:"by_connections"` // one thread
	ByThreads     []*scalingPoint `json:"by_threads"`     // --threads-connections
}

func (s *scaling) Run(ctx context.Context) error {
	if s.Quick {
		s.Rounds, s.Handshakes, s.Connections = 1, 200, []int{1, 100}
	}
	if err := s.check(); err != nil {
		return err
	}
	r, err := s.newReport("scaling")
	if err != nil {
		return err
	}
	var notes []string
	var tables []*bench.Table
	results := new(scalingResults)
	var failed []error
	err = inTempDir(func(dir string) error {
		client, err := s.loadProgram(ctx, dir)
		if err != nil {
			return err
		}
		for _, kind := range s.Keys {
			names, why := runnable(s.Servers, kind)
			for _, n := range why {
				notes = append(notes, kind+": "+n)
			}
			if len(names) == 0 {
				continue
			}
			contenders, err := s.contenders(ctx, dir, names)
			if err != nil {
				return err
			}
			byConnections, byThreads := s.points(kind)
			if err := s.run(ctx, dir, client, kind, contenders, slices.Concat(byConnections, byThreads)); err != nil {
				failed = append(failed, err)
			}
			results.ByConnections = append(results.ByConnections, byConnections...)
			results.ByThreads = append(results.ByThreads, byThreads...)
			tables = append(tables, scalingTable(kind+": server", "connections", names, byConnections, func(p *scalingPoint) int { return p.Connections }))
			if len(byThreads) > 0 {
				tables = append(tables, scalingTable(kind+": server", "threads", names, byThreads, func(p *scalingPoint) int { return p.Threads }))
			}
			plotScaling(r, kind, names, byConnections, byThreads)
			if ctx.Err() != nil {
				break
			}
		}
		if len(tables) == 0 {
			return nothingToMeasure(notes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.Results = results
	return errors.Join(r.finish(&s.options, append(notes, s.notes(results)...), tables...), errors.Join(failed...))
}

// run measures all servers at all points of one key. It returns the failures.
func (s *scaling) run(ctx context.Context, dir, client, kind string, contenders []contender, points []*scalingPoint) error {
	keys, err := newKeys(dir, kind)
	if err != nil {
		return err
	}
	var errs []error
	var same agreement
	check := func(who string, p *scalingPoint, res *load.Result, cert *certificate) error {
		return same.check(who, p.what(), res, cert)
	}
	for _, p := range points {
		progress("%s, %d connections, %d threads", kind, p.Connections, p.Threads)
		err := rounds(ctx, s.Rounds, contenders, func(c contender) error { return s.round(ctx, client, c, keys, p, check) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s, %d connections, %d threads: %w", kind, p.Connections, p.Threads, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (s *scaling) check() error {
	for flag, values := range map[string][]int{"--connections": s.Connections, "--threads": s.Threads, "--threads-connections": {s.Beside}, "--handshakes": {s.Handshakes}} {
		for _, n := range values {
			if n < 1 {
				return fmt.Errorf("%s: %d, at least 1 is needed", flag, n)
			}
		}
	}
	return nil
}

// points returns what is measured with a key: each number of connections with
// one thread, and each number of threads, of which there may be as many as
// cores.
func (s *scaling) points(kind string) (byConnections, byThreads []*scalingPoint) {
	for _, n := range s.Connections {
		byConnections = append(byConnections, &scalingPoint{kind, n, 1, make(map[string][]*scalingResult)})
	}
	for _, n := range s.Threads {
		if n <= runtime.NumCPU() {
			byThreads = append(byThreads, &scalingPoint{kind, s.Beside, n, make(map[string][]*scalingResult)})
		}
	}
	return byConnections, byThreads
}

// round measures one server once. All that the server does from before the
// first connection to after the last counts: with so many connections there may
// be no moment in which as many handshakes are begun as ended.
func (s *scaling) round(ctx context.Context, client string, c contender, keys *keys, p *scalingPoint, check func(string, *scalingPoint, *load.Result, *certificate) error) error {
	cert, err := keys.certificate()
	if err != nil {
		return err
	}
	cpu := s.ServerCPU
	if p.Threads > 1 {
		cpu = -1
	}
	o := serverOptions{cert: cert, cpu: cpu, threads: p.Threads, idleTimeout: max(time.Minute, s.Timeout), handshake: s.Timeout}
	return c.with(ctx, o, func(srv *server) error {
		before, err := familyCPU(srv.pid())
		if err != nil {
			return err
		}
		res, err := s.load(ctx, client, append(p.what().args(), "--connections", strconv.Itoa(p.Connections), "--count", strconv.Itoa(max(s.Handshakes, 2*p.Connections)),
			"--warmup", "0s", "--ramp", "0s", "--timeout", s.Timeout.String(), "--request", "/", srv.addr)...)
		if err != nil {
			return err
		}
		after, err := familyCPU(srv.pid())
		if err != nil {
			return err
		}
		if res.Handshakes == 0 {
			return fmt.Errorf("none of %d handshakes succeeded: %v", res.Errors, res.ErrorExamples)
		}
		if err := check(srv.name, p, res, cert); err != nil {
			return err
		}
		p.Results[c.name] = append(p.Results[c.name], &scalingResult{
			Handshakes: res.Handshakes, All: res.Total.Handshakes, Errors: res.ErrorsByKind, Examples: res.ErrorExamples, Elapsed: res.Duration,
			ServerCPU: after - before, ClientBusy: res.Client.Busy, Latency: res.Latency,
		})
		return nil
	})
}

// scalingTable has the servers one after another, each with its points, of which
// n tells the number that differs.
func scalingTable(first, second string, names []string, points []*scalingPoint, n func(*scalingPoint) int) *bench.Table {
	t := &bench.Table{Header: headings(scalingColumns, first, second)}
	for _, name := range names {
		for _, p := range points {
			t.Add(row(p.Results[name], scalingColumns, name, strconv.Itoa(n(p)))...)
		}
	}
	return t
}

// notes says how it was measured, and which figures are not what they seem.
func (s *scaling) notes(results *scalingResults) []string {
	notes := []string{
		fmt.Sprintf("Full TLS 1.3 handshakes (X25519), each with one request and its answer, so many connections at a time; at least %d a round, and two for each connection. %d rounds for each server in turn: median (least–greatest).", s.Handshakes, s.Rounds),
		"Server CPU and rate are of the whole round, which begins with all connections at once and ends with the last one.",
	}
	if len(results.ByThreads) > 0 {
		notes = append(notes, fmt.Sprintf("Threads: %d connections at a time. With more than one, the server may use any core, and takes part of the client's where there is no other: then compare CPU each, and not the rates.", s.Beside))
	}
	for _, n := range s.Threads {
		if n <= runtime.NumCPU() && clientShares(n, runtime.NumCPU()) {
			notes = append(notes, fmt.Sprintf("%d threads: there are %d cores, and the client shared its own with the server: rate and latency are of both.", n, runtime.NumCPU()))
		}
	}
	for _, n := range s.Threads {
		if n > runtime.NumCPU() {
			notes = append(notes, fmt.Sprintf("%d threads: SKIPPED: there are %d cores.", n, runtime.NumCPU()))
		}
	}
	for _, p := range slices.Concat(results.ByConnections, results.ByThreads) {
		for _, name := range slices.Sorted(maps.Keys(p.Results)) {
			notes = append(notes, p.warnings(name)...)
		}
	}
	return notes
}

// clientShares says whether a server with so many threads runs on the client's
// core, too: where it has more than one, it is not kept to a core.
func clientShares(threads, cores int) bool { return threads > 1 && threads >= cores }

func (p *scalingPoint) warnings(name string) (notes []string) {
	where := fmt.Sprintf("%s, %s, %d connections, %d threads", p.Key, name, p.Connections, p.Threads)
	busy := 0
	for i, r := range p.Results[name] {
		if n := r.errors(); n > 0 {
			notes = append(notes, fmt.Sprintf("%s, round %d: %d failed: %s.", where, i+1, n, kinds(r.Errors, r.Examples)))
		}
		if r.ClientBusy >= load.BusyLimit && r.cores() < load.BusyLimit*float64(p.Threads) {
			busy++
		}
	}
	if busy > 0 {
		notes = append(notes, fmt.Sprintf("%s: in %d of %d rounds the client was the limit, and rate and latency are the client's.", where, busy, len(p.Results[name])))
	}
	return notes
}
