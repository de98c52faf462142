//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "scaling", Title: "Scaling", Help: "A handshake's cost with 1 to 10,000 connections at a time, and with a second loop.",
		New: func() Scenario { return new(scaling) }, Loads: true, Usual: true,
	})
}

// scaling measures whether a handshake costs more where there are many, and
// whether a second loop makes twice as many.
type scaling struct {
	Keys        []string      `enum:"${keys}" default:"rsa2048,ecdsa-p256" help:"The servers' keys: any of ${enum}."`
	Connections []int         `default:"1,10,100,1000,10000" min:"1" help:"Connections at a time."`
	Threads     []int         `default:"1,2" min:"1" help:"Loops of our server, GOMAXPROCS of those in Go, threads of haproxy, workers of nginx; with --threads-connections."`
	Beside      int           `name:"threads-connections" default:"64" min:"1" help:"Connections at a time with each number of --threads."`
	Handshakes  int           `default:"5000" min:"1" help:"Handshakes of a server in a round; more where there would be fewer than two for each connection."`
	Rounds      int           `default:"3" min:"1" help:"Rounds; in each, every server is measured once."`
	Timeout     time.Duration `default:"1m" min:"1ns" help:"How long a client waits, and how long the servers let a handshake take (HAProxy at least 1m, fasthttp for ever)."`
	Servers     []string      `enum:"${tls_handshakes}" default:"jobloop-multibuffer,jobloop,goroutines,nginx,haproxy" help:"What to measure: any of ${enum}."`
}

// scalingResult is what one server did in one round.
type scalingResult struct {
	Load      *load.Result  `json:"load"`
	ServerCPU time.Duration `json:"server_cpu_ns"`
}

// cpu is of all handshakes: also of the client's probe, and of those that failed
// later.
func (r *scalingResult) cpu() float64 {
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / float64(r.Load.Total.Handshakes)
}
func (r *scalingResult) cores() float64 { return r.ServerCPU.Seconds() / r.Load.Duration }

var scalingColumns = []report.Column[*scalingResult]{
	{Name: "server CPU, µs each", Of: (*scalingResult).cpu},
	{Name: "handshakes/s", Of: func(r *scalingResult) float64 { return float64(r.Load.Handshakes) / r.Load.Duration }, Higher: true},
	{Name: "cores used", Of: (*scalingResult).cores},
	{Name: "p50, ms", Of: func(r *scalingResult) float64 { return float64(r.Load.Latency.P50) / 1e3 }},
	{Name: "p99, ms", Of: func(r *scalingResult) float64 { return float64(r.Load.Latency.P99) / 1e3 }},
	{Name: "errors", Of: func(r *scalingResult) float64 { return float64(r.Load.Errors) }},
}

// scalingPoint is the results of all servers with one key, so many connections
// at a time and so many threads.
type scalingPoint struct {
	Key         string                      `json:"key"`
	Connections int                         `json:"connections"`
	Threads     int                         `json:"threads"`
	Results     map[string][]*scalingResult `json:"results"` // by server
}

func (p *scalingPoint) String() string {
	return fmt.Sprintf("%s, %d connections, %d threads", p.Key, p.Connections, p.Threads)
}

func (s *scaling) quick() { s.Rounds, s.Handshakes, s.Connections = 1, 200, []int{1, 100} }

func (s *scaling) measure(ctx context.Context, r *run) error {
	s.notes(r.Report)
	var results []*scalingPoint
	return r.eachKey(ctx, s.Keys, s.Servers, func(key string, peers []peer.Peer) error {
		names := namesOf(peers)
		byConnections, byThreads := s.points(key)
		points := slices.Concat(byConnections, byThreads)
		failed := s.at(ctx, r, peers, points)
		results = append(results, points...)
		r.Results = results
		for _, p := range points {
			for _, name := range names {
				r.noteScaling(p, name)
			}
		}
		r.Add(scalingTable(key, "connections", names, byConnections, func(p *scalingPoint) int { return p.Connections }))
		if len(byThreads) > 0 {
			r.Add(scalingTable(key, "threads", names, byThreads, func(p *scalingPoint) int { return p.Threads }))
		}
		plotScaling(r.Report, key, names, byConnections, byThreads)
		return failed
	})
}

// points returns what is measured with a key: each number of connections with
// one thread, and each number of threads, of which there may be as many as
// cores.
func (s *scaling) points(key string) (byConnections, byThreads []*scalingPoint) {
	for _, n := range s.Connections {
		byConnections = append(byConnections, &scalingPoint{Key: key, Connections: n, Threads: 1})
	}
	for _, n := range s.Threads {
		if n <= runtime.NumCPU() {
			byThreads = append(byThreads, &scalingPoint{Key: key, Connections: s.Beside, Threads: n})
		}
	}
	return byConnections, byThreads
}

// at measures all servers at all points of one key.
func (s *scaling) at(ctx context.Context, r *run, peers []peer.Peer, points []*scalingPoint) error {
	var errs []error
	for _, p := range points {
		process.Progress("%v", p)
		o := peer.Options{Threads: p.Threads, IdleTimeout: max(time.Minute, s.Timeout), HandshakeTimeout: s.Timeout}
		var err error
		p.Results, err = servers(ctx, r, s.Rounds, peers, p.Key, o, func(srv *peer.Server) (*scalingResult, error) { return s.one(ctx, r, srv, p) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", p, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// one measures one server once. All that the server does from before the first
// connection to after the last counts: with so many connections there may be no
// moment in which as many handshakes are begun as ended.
func (s *scaling) one(ctx context.Context, r *run, srv *peer.Server, p *scalingPoint) (*scalingResult, error) {
	kind := client.Full(p.Key)
	var res *load.Result
	cpu, err := cpuDuring(srv, func() (err error) {
		args := []string{"--connections", strconv.Itoa(p.Connections), "--count", strconv.Itoa(max(s.Handshakes, 2*p.Connections)),
			"--warmup", "0s", "--ramp", "0s", "--timeout", s.Timeout.String()}
		res, err = r.client.Run(ctx, slices.Concat(kind.Args(), args, visitArgs(srv.Protocol, true), []string{srv.Addr})...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if res.Handshakes == 0 {
		return nil, errors.New(failures(res))
	}
	res.Series, res.Distribution = nil, nil
	return &scalingResult{res, cpu}, r.check(srv, kind, res)
}

// scalingTable has the servers one after another, each with its points. n is the
// number in which the points differ.
func scalingTable(key, heading string, names []string, points []*scalingPoint, n func(*scalingPoint) int) *report.Table {
	t := report.NewTable(key, scalingColumns, key+": server", heading)
	for _, name := range names {
		for _, p := range points {
			report.AddRow(t, p.Results[name], scalingColumns, name, strconv.Itoa(n(p)))
		}
	}
	return t
}

// notes says how it is measured.
func (s *scaling) notes(r *report.Report) {
	r.Notef("Full TLS 1.3 handshakes (X25519), each with one request and its answer, so many connections at a time; at least %d a round, and two for each connection. %s for each server in turn: median (least–greatest).", s.Handshakes, roundsText(s.Rounds))
	r.Note("Server CPU and rate are of the whole round, which begins with all connections at once and ends with the last one.")
	if slices.Min(s.Threads) <= runtime.NumCPU() {
		r.Notef("Threads: %d connections at a time. With more than one, the server may use any core, and takes part of the client's where there is no other: then compare CPU each, and not the rates.", s.Beside)
	}
	for _, n := range s.Threads {
		switch cores := runtime.NumCPU(); {
		case n > cores:
			r.Notef("%d threads: SKIPPED: there are %d cores.", n, cores)
		case clientShares(n, cores):
			r.Notef("%d threads: there are %d cores, and the client shared its own with the server: rate and latency are of both.", n, cores)
		}
	}
}

// clientShares says whether a server with so many threads runs on the client's
// core, too: where it has more than one, it is not kept to a core.
func clientShares(threads, cores int) bool { return threads > 1 && threads >= cores }

// noteScaling says which figures of a server are not what they seem.
func (r *run) noteScaling(p *scalingPoint, name string) {
	where := fmt.Sprintf("%v, %s", p, name)
	limited := 0
	for i, res := range p.Results[name] {
		if res.Load.Errors > 0 {
			r.Notef("%s, round %d: %s.", where, i+1, failures(res.Load))
		}
		if res.Load.Client.Busy >= load.BusyLimit && res.cores() < load.BusyLimit*float64(p.Threads) {
			limited++
		}
	}
	r.noteLimit(where, limited, len(p.Results[name]))
}

func plotScaling(r *report.Report, key string, names []string, byConnections, byThreads []*scalingPoint) {
	title := "Server CPU of a handshake by connections at a time, " + key
	r.AddPlot("scaling-connections-"+key, title, func() ([]byte, error) {
		var series []chart.Series
		for _, name := range names {
			s := chart.Series{Name: name, Points: true}
			for _, p := range byConnections {
				s.X = append(s.X, float64(p.Connections))
				s.Y = append(s.Y, report.Median(report.Figures(p.Results[name], (*scalingResult).cpu)))
			}
			series = append(series, s)
		}
		return chart.Lines(chart.Config{Title: title, XLabel: "connections at a time", YLabel: "µs", LogX: true}, series...)
	})
	if len(byThreads) == 0 {
		return
	}
	var bars []report.Bar
	for _, p := range byThreads {
		label := "1 thread"
		if p.Threads > 1 {
			label = strconv.Itoa(p.Threads) + " threads"
		}
		// The rate says little where the threads share their cores with the client.
		bars = append(bars, report.NewBar(label, names, p.Results, (*scalingResult).cpu))
	}
	r.AddBars("scaling-threads-"+key, "Server CPU of a handshake by threads of the server, "+key, "µs", names, false, bars...)
}
