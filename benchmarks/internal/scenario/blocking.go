//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

func init() {
	register(Entry{
		Name: "blocking", Title: "Blocking", Help: "How long RSA handshakes keep another connection of the same loop waiting.",
		New: func() Scenario { return new(blocking) }, Loads: true,
	})
}

// blocking measures how long the private-key operations of some connections keep
// another one of the same loop waiting.
type blocking struct {
	Keys     []string      `enum:"${keys}" default:"rsa2048,rsa4096" help:"The server's keys: any of ${enum}."`
	Servers  []string      `enum:"${https}" default:"jobloop,jobloop-multibuffer,jobloop-multibuffer-worker,jobloop-offload" help:"What to measure: any of ${enum}."`
	Clients  int           `default:"64" min:"1" help:"Clients that make handshakes at a time."`
	Interval time.Duration `default:"1ms" min:"1us" help:"From one probe to the next."`
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"10s" min:"1ns" help:"How long a server is measured in a round."`
	Warmup   time.Duration `default:"1s" min:"0s" help:"Load before that."`
	Workers  int           `default:"1" min:"0" help:"Threads of the server besides the loop's, all on the server's core. To give workers a core of their own, use --server-cpu -1 on a machine that has one to spare."`
}

// blockingResult is what was found out about one server in one round.
type blockingResult struct {
	Probe      *client.ProbeResult `json:"probe"`
	Handshakes *client.Loaded      `json:"handshakes,omitempty"` // nil: there were none
}

// figure is one of the handshakes', or NaN if there were none.
func (r *blockingResult) figure(of func(*client.Loaded) float64) float64 {
	if r.Handshakes == nil {
		return math.NaN()
	}
	return of(r.Handshakes)
}

var blockingColumns = []report.Column[*blockingResult]{
	{Name: "probe p50, ms", Of: func(r *blockingResult) float64 { return r.Probe.Milliseconds(client.ProbeP50) }},
	{Name: "p99, ms", Of: func(r *blockingResult) float64 { return r.Probe.Milliseconds(client.ProbeP99) }},
	{Name: "p99.9, ms", Of: func(r *blockingResult) float64 { return r.Probe.Milliseconds(client.ProbeP999) }},
	{Name: "max, ms", Of: func(r *blockingResult) float64 { return r.Probe.Milliseconds(client.ProbeMax) }},
	{Name: "handshakes/s", Of: func(r *blockingResult) float64 { return r.figure((*client.Loaded).Rate) }, Higher: true},
	{Name: "server CPU, µs each", Of: func(r *blockingResult) float64 { return r.figure((*client.Loaded).CPU) }},
}

// calm is a server that is measured without handshakes.
type calm struct{ peer.Peer }

func (c calm) Name() string { return "no handshakes, " + c.Peer.Name() }

func (b *blocking) quick() { b.Rounds, b.Duration, b.Warmup = 1, time.Second, 200*time.Millisecond }

func (b *blocking) check() error {
	if b.Duration < b.Interval {
		return fmt.Errorf("--duration: %v, at least --interval (%v) is needed", b.Duration, b.Interval)
	}
	return nil
}

func (b *blocking) measure(ctx context.Context, r *run) error {
	results := make(map[string]map[string][]*blockingResult) // by key and server
	t := report.NewTable("", blockingColumns, "key, server")
	failed := r.eachKey(ctx, b.Keys, b.Servers, func(key string, peers []peer.Peer) error {
		all := append([]peer.Peer{calm{peers[0]}}, peers...)
		one, err := collect(ctx, b.Rounds, all, func(p peer.Peer) (*blockingResult, error) { return b.one(ctx, r, key, p) })
		if len(one) == 0 {
			return err
		}
		results[key] = one
		r.Results = results
		errs := []error{err}
		for _, name := range namesOf(all) {
			where := key + ", " + name
			report.AddRow(t, one[name], blockingColumns, where)
			errs = append(errs, r.noteBlocking(where, one[name]))
		}
		return errors.Join(errs...)
	})
	r.Add(t)
	r.Notef("One TLS connection asks every %v, whether or not it has its answers. Each answer is timed from the moment its request was due. On the same loop, %d clients at a time make full TLS 1.3 handshakes. %s of %v for each server in turn: median (least–greatest).",
		b.Interval, b.Clients, roundsText(b.Rounds), b.Duration)
	r.Notef("The server has %d threads for Go on its core, the loop's and workers'. All clients are on another core, the probe before the others.", 1+b.Workers)
	return failed
}

// one measures a server once: the probe and the load are processes side by side,
// with the same warm-up and duration.
func (b *blocking) one(ctx context.Context, r *run, key string, p peer.Peer) (*blockingResult, error) {
	res := new(blockingResult)
	return res, r.with(ctx, p, key, peer.Options{Workers: b.Workers}, func(s *peer.Server) error {
		probe, err := client.StartProbe(ctx, r.ClientCPU, client.Probe{Addr: s.Addr, Interval: b.Interval, Warmup: b.Warmup, Duration: b.Duration})
		if err != nil {
			return err
		}
		if _, ok := p.(calm); !ok {
			res.Handshakes, err = r.watched(ctx, s, client.Full(key), "--connections", strconv.Itoa(b.Clients), "--request", "/", "--reset",
				"--warmup", b.Warmup.String(), "--duration", b.Duration.String())
			if err != nil {
				probe.Kill()
				return err
			}
			res.Handshakes.Trim()
		}
		var failed string
		if res.Probe, failed = probe.Result(); failed != "" {
			return errors.New(failed)
		}
		return nil
	})
}

// noteBlocking says when the probe itself was late, or others were on the server's
// core. It returns which handshakes failed: none is expected to.
func (r *run) noteBlocking(where string, rounds []*blockingResult) error {
	var late time.Duration
	var others []float64
	var probes []*client.ProbeResult
	var errs []error
	for i, res := range rounds {
		late = max(late, res.Probe.Late)
		probes = append(probes, res.Probe)
		if res.Handshakes != nil {
			others = append(others, res.Handshakes.OtherBusy())
			errs = append(errs, failed(where, i, res.Handshakes.Load))
		}
	}
	r.noteProbes(where, probes...)
	r.noteOthers(where, others...)
	if late > 200*time.Microsecond {
		r.Notef("%s: the probe itself was up to %v late (p99). The figures contain that.", where, late)
	}
	return errors.Join(errs...)
}
