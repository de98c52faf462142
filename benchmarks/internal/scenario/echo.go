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
)

func init() {
	register(Entry{
		Name: "echo", Title: "Echo", Help: "Throughput with large messages, and the cost of small ones, of servers on gnet.",
		New: func() Scenario { return new(echo) }, Usual: true,
	})
}

// echo measures servers that echo messages.
type echo struct {
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every server is measured once with each size."`
	Duration time.Duration `default:"5s" min:"1ns" help:"How long a server is loaded and measured in a round."`
	Warmup   time.Duration `default:"1s" min:"0s" help:"Load before that."`
	Servers  []string      `enum:"${echo}" default:"gnetjobs,gnetjobs-job,goroutines,gnet" help:"What to measure: any of ${enum}. gnet is without TLS."`
}

// exchanges is how connections are used. Each has one message in flight.
type exchanges struct {
	name        string
	connections int
	size        int // of a message, in bytes
	buffer      int // of the connections of servers that block
	columns     []report.Column[*echoResult]
}

// echoSizes are what is measured. A large message is more than any server reads
// at once, and less than the sockets' buffers take while the client sends it; the
// goroutine server reads and sends whole records.
var echoSizes = []exchanges{
	{"throughput", 16, 64 << 10, 16 << 10, []report.Column[*echoResult]{
		{Name: "MB/s", Of: func(r *echoResult) float64 { return r.megabytes() / r.Elapsed.Seconds() }, Higher: true},
		{Name: "server CPU, µs/MB", Of: func(r *echoResult) float64 { return r.ServerCPU.Seconds() * 1e6 / r.megabytes() }},
		echoServerBusy, echoClientBusy,
	}},
	{"messages", 64, 512, 4096, []report.Column[*echoResult]{
		{Name: "messages/s", Of: func(r *echoResult) float64 { return float64(r.Messages) / r.Elapsed.Seconds() }, Higher: true},
		{Name: "server CPU, µs each", Of: func(r *echoResult) float64 { return r.ServerCPU.Seconds() * 1e6 / float64(r.Messages) }},
		echoServerBusy, echoClientBusy,
	}},
}

var (
	echoServerBusy = report.Column[*echoResult]{Name: "server busy, %", Of: func(r *echoResult) float64 { return r.Busy() }}
	echoClientBusy = report.Column[*echoResult]{Name: "client busy, %", Of: func(r *echoResult) float64 { return 100 * r.CPU.Seconds() / r.Elapsed.Seconds() }}
)

// echoResult is what was measured of one server in one round.
type echoResult struct {
	client.EchoResult
	client.Watched
	Size int `json:"message_bytes"`
}

func (r *echoResult) megabytes() float64 { return float64(r.Messages) * float64(r.Size) / 1e6 }

func (e *echo) quick() {
	e.Rounds, e.Duration, e.Warmup = 1, 200*time.Millisecond, 100*time.Millisecond
}

func (e *echo) measure(ctx context.Context, r *run) error {
	const key = "ecdsa-p256"
	peers, err := r.peers(e.Servers, key)
	if err != nil {
		return err
	}
	all := make(map[string]map[string][]*echoResult) // by size and server
	r.Results = all
	var failed []error
	var others []float64
	for _, x := range echoSizes {
		results, err := collect(ctx, e.Rounds, peers, func(p peer.Peer) (*echoResult, error) { return e.one(ctx, r, p, key, x) })
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", x.name, err))
		}
		all[x.name] = results
		r.Add(serverTable(x.name, x.name, namesOf(peers), results, x.columns))
		r.Notef("%s: %d connections, each with one message of %d bytes in flight. The goroutine server has a buffer of %d bytes for each connection.", x.name, x.connections, x.size, x.buffer)
		for _, rounds := range results {
			others = append(others, report.Figures(rounds, func(r *echoResult) float64 { return r.OtherBusy() })...)
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.Notef("TLS 1.3, AES-128-GCM; gnet is without TLS. Every echo was compared with its message. 1 MB is a million bytes that the client has sent and received. %s of %v for each server in turn, after %v of the same: median (least–greatest).", roundsText(e.Rounds), e.Duration, e.Warmup)
	if e.Duration >= time.Second { // the kernel counts this in hundredths of a second
		r.noteOthers("All servers", others...)
	}
	return errors.Join(failed...)
}

// one measures one server once.
func (e *echo) one(ctx context.Context, r *run, p peer.Peer, key string, x exchanges) (*echoResult, error) {
	res := &echoResult{Size: x.size}
	o := peer.Options{Protocol: peer.Speak(p, peer.TLSEcho, peer.PlainEcho), Buffer: x.buffer}
	return res, r.with(ctx, p, key, o, func(s *peer.Server) error {
		w, err := client.Watch(ctx, s.Watch(), r.ClientCPU, func() (begin, end time.Time, err error) {
			err = process.RunSelf(ctx, r.ClientCPU, &res.EchoResult, append(append([]string{"echo-client"}, s.Target().Args()...),
				"--connections", strconv.Itoa(x.connections), "--size", strconv.Itoa(x.size),
				"--warmup", e.Warmup.String(), "--duration", e.Duration.String())...)
			return res.Begin, res.End, err
		})
		if err != nil {
			return err
		}
		res.Watched = *w
		if res.Messages == 0 {
			return errors.New("not one message came back")
		}
		return nil
	})
}
