//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/bench"
)

// blocking is the part that measures how long the private-key operations of
// some connections keep another one of the same loop waiting.
type blocking struct {
	options
	Keys     []string      `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048,rsa4096" help:"The server's keys, of ${enum}."`
	Engines  []string      `enum:"none,multibuffer,multibuffer-worker,offload" default:"none,multibuffer,multibuffer-worker,offload" help:"What private-key operations are done with, of ${enum}; multibuffer-worker is multibuffer with Config.Worker."`
	Clients  int           `default:"64" help:"Clients that make handshakes at a time."`
	Interval time.Duration `default:"1ms" help:"From one probe to the next."`
	Rounds   int           `default:"5" help:"Rounds; in each, every way is measured once."`
	Duration time.Duration `default:"10s" help:"How long a way is measured in a round."`
	Warmup   time.Duration `default:"1s" help:"Load before that."`
	Threads  int           `default:"2" help:"GOMAXPROCS of the server: the loop's thread and those of workers, on the server's core together. For workers on a core of their own, --server-cpu -1 on a machine that has one to spare."`
}

// The ways: the engines, and for comparison no load at all.
const (
	wayNoLoad  = "no handshakes"
	wayNone    = "none"
	wayLanes   = "multibuffer"
	wayWorker  = "multibuffer-worker"
	wayOffload = "offload"
)

// blockingResult is what was found out about one way in one round.
type blockingResult struct {
	Probe      probeResult      `json:"probe"`
	Handshakes *handshakeResult `json:"handshakes,omitempty"`
}

func (b *blocking) Run(ctx context.Context) error {
	if b.Quick {
		b.Rounds, b.Duration, b.Warmup = 1, time.Second, 200*time.Millisecond
	}
	r, err := b.newReport("blocking")
	if err != nil {
		return err
	}
	ways := []string{wayNoLoad}
	var notes []string
	for _, way := range b.Engines {
		if err := multibuffer.Supported(); err != nil && (way == wayLanes || way == wayWorker) {
			notes = append(notes, fmt.Sprintf("%s: SKIPPED: %v.", way, err))
			continue
		}
		ways = append(ways, way)
	}
	return inTempDir(func(dir string) error {
		results := make(map[string]map[string][]*blockingResult) // by key and way
		var errs []error
		t := blockingTable()
		for _, kind := range b.Keys {
			keys, err := newKeys(dir, kind)
			if err != nil {
				return err
			}
			results[kind] = make(map[string][]*blockingResult)
			var servers []contender
			for _, way := range ways {
				servers = append(servers, b.server(kind, way))
			}
			errs = append(errs, rounds(ctx, b.Rounds, servers, func(c contender) error {
				way := strings.TrimPrefix(c.name, kind+", ")
				res, err := b.measure(ctx, keys, c, way)
				if err == nil {
					results[kind][way] = append(results[kind][way], res)
				}
				return err
			}))
			addBlockingRows(t, kind, ways, results[kind])
			errs = append(errs, blockingErrors(kind, ways, results[kind]))
			notes = append(notes, blockingWarnings(kind, ways, results[kind])...)
			if ctx.Err() != nil {
				break
			}
		}
		r.Results = results
		notes = append([]string{
			fmt.Sprintf("One connection of an echo server, probed every %v whether or not it has answered, each probe timed from the moment it was due; on its loop, %d clients at a time make full TLS 1.3 handshakes. %d rounds of %v for each way in turn: median (least–greatest).",
				b.Interval, b.Clients, b.Rounds, b.Duration),
			fmt.Sprintf("The server has %d threads for Go on its core, the loop's and workers'; all clients are on another core, the probe before the others.", b.Threads),
		}, notes...)
		return errors.Join(append(errs, r.finish(&b.options, notes, t))...)
	})
}

// measure measures one way once: the probe and the load are processes side by
// side, with the same warm-up and duration.
func (b *blocking) measure(ctx context.Context, keys *keys, c contender, way string) (*blockingResult, error) {
	cert, err := keys.certificate()
	if err != nil {
		return nil, err
	}
	res := new(blockingResult)
	return res, c.with(ctx, serverOptions{cert: cert, cpu: b.ServerCPU}, func(s *server) error {
		addrs := listenAddr.FindAllString(s.said, 2)
		if len(addrs) != 2 {
			return fmt.Errorf("it does not tell two addresses: %q", s.said)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		load := make(chan error, 1)
		if way == wayNoLoad {
			load <- nil
		} else {
			res.Handshakes = new(handshakeResult)
			go func() {
				err := runClient(ctx, b.ClientCPU, res.Handshakes, "handshake-client", addrs[0], "--pid", strconv.Itoa(s.pid()),
					"--serial", strconv.FormatInt(cert.serial, 10), "--clients", strconv.Itoa(b.Clients), "--core", strconv.Itoa(b.ServerCPU),
					"--warmup", b.Warmup.String(), "--duration", b.Duration.String())
				if err != nil {
					cancel(err)
				}
				load <- err
			}()
		}
		err := runClient(ctx, b.ClientCPU, &res.Probe, "probe", addrs[1], "--interval", b.Interval.String(),
			"--warmup", b.Warmup.String(), "--duration", b.Duration.String())
		if err != nil {
			cancel(err)
		}
		return errors.Join(err, <-load)
	})
}

// server is blockingServer with one way.
func (b *blocking) server(kind, way string) contender {
	return contender{kind + ", " + way, func(ctx context.Context, o serverOptions) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if way == wayNoLoad {
			way = wayNone
		}
		return startServer(ctx, way, o, "", self, "blocking-server", way, "--cert", o.cert.certFile,
			"--keyfile", o.cert.keyFile, "--threads", strconv.Itoa(b.Threads))
	}}
}

var blockingColumns = []struct {
	name string
	f    func(*blockingResult) float64
}{
	{"probe p50, ms", func(r *blockingResult) float64 { return r.Probe.P50.Seconds() * 1e3 }},
	{"p99, ms", func(r *blockingResult) float64 { return r.Probe.P99.Seconds() * 1e3 }},
	{"p99.9, ms", func(r *blockingResult) float64 { return r.Probe.P999.Seconds() * 1e3 }},
	{"max, ms", func(r *blockingResult) float64 { return r.Probe.Max.Seconds() * 1e3 }},
	{"handshakes/s", func(r *blockingResult) float64 { return r.Handshakes.rate() }},
	{"server CPU, µs each", func(r *blockingResult) float64 { return r.Handshakes.cpu() }},
}

// ofProbe is how many of the columns are there without handshakes.
const ofProbe = 4

func blockingTable() *bench.Table {
	t := &bench.Table{Header: []string{"key, engine"}}
	for _, c := range blockingColumns {
		t.Header = append(t.Header, c.name)
	}
	return t
}

func addBlockingRows(t *bench.Table, kind string, ways []string, results map[string][]*blockingResult) {
	for _, way := range ways {
		row := []string{kind + ", " + way}
		for i, c := range blockingColumns {
			var values []float64
			for _, r := range results[way] {
				if i < ofProbe || r.Handshakes != nil {
					values = append(values, c.f(r))
				}
			}
			row = append(row, bench.Spread(values))
		}
		t.Add(row...)
	}
}

// blockingWarnings says when the probe itself was late, or others were on the
// server's core: its figures contain that.
func blockingWarnings(kind string, ways []string, results map[string][]*blockingResult) []string {
	var notes []string
	for _, way := range ways {
		late, unprivileged, others := time.Duration(0), false, 0.0
		for _, r := range results[way] {
			if h := r.Handshakes; h != nil {
				others = max(others, 100*h.OtherCPU.Seconds()/h.Elapsed.Seconds())
			}
			late = max(late, r.Probe.Late)
			unprivileged = unprivileged || !r.Probe.Realtime
		}
		if unprivileged {
			notes = append(notes, fmt.Sprintf("%s, %s: the system did not let the probe go before the other clients (SCHED_FIFO); it waited for them at times.", kind, way))
		}
		if others > 5 {
			notes = append(notes, fmt.Sprintf("%s, %s: others (processes, interrupts, the hypervisor) took up to %.0f %% of the server's core in a round; its figures contain that.", kind, way, others))
		}
		if late > 200*time.Microsecond {
			notes = append(notes, fmt.Sprintf("%s, %s: the probe itself was up to %v late (p99); its figures contain that.", kind, way, late))
		}
	}
	return notes
}

// blockingErrors says which handshakes failed. None is expected to.
func blockingErrors(kind string, ways []string, results map[string][]*blockingResult) error {
	byWay := make(map[string][]*handshakeResult)
	for way, rs := range results {
		for _, r := range rs {
			if r.Handshakes != nil {
				byWay[way] = append(byWay[way], r.Handshakes)
			}
		}
	}
	if err := handshakeErrors(ways, byWay); err != nil {
		return fmt.Errorf("%s: %s", kind, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
