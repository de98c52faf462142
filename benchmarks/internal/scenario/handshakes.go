//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "handshakes", Title: "Handshakes", Help: "TLS handshakes: rate, latency, server CPU each.",
		New: func() Scenario { return new(handshakes) }, Loads: true, Usual: true, Quick: []string{"--key", "rsa2048", "--load", "half"},
	})
}

// handshakes measures handshakes: at saturation, and with clients that come on
// schedule, at half of that rate and at twice it.
//
// This file measures; handshaketables.go is what a reader is told.
type handshakes struct {
	Key      []string      `enum:"${keys}" default:"rsa2048,ecdsa-p256" help:"The servers' keys: any of ${enum}."`
	TLS      []string      `name:"tls" enum:"1.3,1.2" default:"1.3,1.2" help:"TLS versions: any of ${enum}."`
	Resume   []string      `enum:"full,resumed" default:"full,resumed" help:"Kinds of handshakes: any of ${enum}."`
	Curve    string        `enum:"X25519,X25519MLKEM768" default:"X25519" help:"The key exchange that the client offers in TLS 1.3: ${enum}. Browsers, and clients in Go since 1.24, offer the second first; nginx and HAProxy need OpenSSL 3.5 for it."`
	Clients  int           `default:"64" min:"1" help:"Connections at a time; 1 for the latency of a client that is alone."`
	Threads  int           `default:"1" min:"1" help:"Loops of our server, GOMAXPROCS of those in Go, threads of haproxy; not for nginx. With more than one, a server may use any core, the client's too."`
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"5s" min:"1ns" help:"How long each load of a server is measured in a round."`
	Warmup   time.Duration `default:"1s" min:"0s" help:"Load before that. Before twice the rate it is at least 5s, unless --quick is given: the steady overload is measured, and not its beginning."`
	Request  bool          `default:"true" negatable:"" help:"Make one request after each handshake: its answer proves that the server has finished the handshake too. gRPC's servers get none."`
	Load     []string      `enum:"half,twice,none" default:"half,twice" help:"At which parts of the saturation rate to measure latency, with clients that come on schedule: ${enum}."`
	Servers  []string      `enum:"${tls_handshakes}" default:"jobloop-multibuffer,jobloop,jobloop-offload,goroutines,nginx,haproxy" help:"What to measure: any of ${enum}."`
}

// schedules are the loads by schedule, as parts of the rate at saturation.
var schedules = []struct {
	name string
	part float64
}{{"half", 0.5}, {"twice", 2}}

// handshakeRound is what was found out about one server in one round.
type handshakeRound struct {
	Saturation *client.Loaded        `json:"saturation,omitempty"`
	Open       map[string]*openRound `json:"open,omitempty"`          // by schedule
	NotTwice   string                `json:"twice_skipped,omitempty"` // why
	Failed     string                `json:"failed,omitempty"`        // why there are no figures
}

// openRound is a load by schedule.
type openRound struct {
	client.Loaded
	Asked       float64 `json:"rate_asked_per_s"`
	Connections int     `json:"connections_at_most"` // of the client
}

// handshakeResults are those of one kind of handshake, by server.
type handshakeResults struct {
	What    client.Kind                  `json:"what"`
	Servers []string                     `json:"servers"`
	Rounds  map[string][]*handshakeRound `json:"rounds"`
}

// busyForTwice is how busy the client's core may be at the server's limit, in
// percent, if it is to offer twice as many handshakes. With RSA-2048, that cost
// it 1.4 times as much: those that are not served end after the hello.
const busyForTwice = 65

// patience is how long a client that comes on schedule waits. Overload is steady
// after two and a half times as long: the first clients that are not served have
// given up by then, and those after them find the server as busy as it stays.
const (
	patience       = 2 * time.Second
	overloadWarmup = patience * 5 / 2
)

// maxOpen is how many connections at a time a load by schedule may have, if the
// limit of open files allows them. They are enough for twice the rate of a server
// that makes 4,000 handshakes a second, for as long as clients wait.
func maxOpen() int { return min(16000, load.MaxConnections()) }

func (h *handshakes) quick() {
	h.Rounds, h.Duration, h.Warmup = 1, time.Second, 200*time.Millisecond
}

func (h *handshakes) check() error {
	if len(h.Load) > 1 && slices.Contains(h.Load, "none") {
		return errors.New("--load: it has none and others; choose")
	}
	for _, name := range h.Servers {
		if h.Threads > 1 && strings.HasPrefix(name, "nginx") {
			return fmt.Errorf("--threads: %s has a process for each, and only one process can be watched here; see the scenario scaling", name)
		}
	}
	return nil
}

func (h *handshakes) measure(ctx context.Context, r *run) error {
	r.Note(h.notes(r.Quick)...)
	var all []*handshakeResults
	failed := r.eachKey(ctx, h.Key, h.Servers, func(key string, peers []peer.Peer) error {
		var errs []error
		for _, kind := range client.Kinds([]string{key}, h.TLS, h.Resume) {
			if h.Curve != "X25519" && kind.TLS == "1.3" {
				kind.Curve = h.Curve
			}
			process.Progress("%v", kind)
			res := &handshakeResults{kind, namesOf(peers), make(map[string][]*handshakeRound)}
			if err := h.rounds(ctx, r, res, peers); err != nil { // of some servers, and nothing of the others
				errs = append(errs, fmt.Errorf("%v: %w", kind, err))
			}
			all = append(all, res)
			r.Results = all
			r.Add(res.tables()...)
			r.Note(res.warnings(h.Clients)...)
			errs = append(errs, res.errors()...)
			if ctx.Err() != nil {
				break
			}
		}
		for _, err := range errs {
			r.Note("FAILED: " + strings.ReplaceAll(err.Error(), "\n", "; ") + ".")
		}
		return errors.Join(errs...)
	})
	plotHandshakes(r.Report, all)
	return failed
}

// has says whether to measure by this schedule. With one client there is no rate at
// saturation to take a part of.
func (h *handshakes) has(schedule string) bool {
	return h.Clients > 1 && slices.Contains(h.Load, schedule)
}

// warmup is that before a load by this schedule.
func (h *handshakes) warmup(schedule string, quick bool) time.Duration {
	if schedule == "twice" && !quick {
		return max(h.Warmup, overloadWarmup)
	}
	return h.Warmup
}

// rounds measures all servers with one kind of handshake.
func (h *handshakes) rounds(ctx context.Context, r *run, res *handshakeResults, peers []peer.Peer) error {
	return rounds(ctx, h.Rounds, peers, func(p peer.Peer) error {
		return r.with(ctx, p, res.What.Key, peer.Options{Tickets: res.What.Resumed(), Threads: h.Threads}, func(s *peer.Server) error {
			round, err := (&loader{h, r, res.What, s}).round(ctx, res.Rounds[p.Name()])
			if err == nil || round.Saturation != nil {
				res.Rounds[p.Name()] = append(res.Rounds[p.Name()], round)
			}
			return err
		})
	})
}

// loader loads one start of a server.
type loader struct {
	*handshakes
	run    *run
	kind   client.Kind
	server *peer.Server
}

// round measures a server once. before has its earlier rounds: loads by schedule
// are parts of the median rate of all its rounds. If a server cannot be loaded like
// this, the round says so, and the others are measured all the same.
func (l *loader) round(ctx context.Context, before []*handshakeRound) (*handshakeRound, error) {
	round := &handshakeRound{Open: make(map[string]*openRound)}
	err := l.loads(ctx, before, round)
	if errors.Is(err, client.ErrNotResumed) || errors.Is(err, client.ErrLoad) || errors.Is(err, client.ErrEndedEarly) {
		round.Failed = err.Error()
		err = nil
	}
	return round, err
}

// loads does the loads of a round.
func (l *loader) loads(ctx context.Context, before []*handshakeRound, round *handshakeRound) (err error) {
	if round.Saturation, err = l.load(ctx, l.Warmup, "--connections", strconv.Itoa(l.Clients)); err != nil {
		return err
	}
	all := saturations(append(slices.Clone(before), round))
	rate := report.Median(report.Figures(all, (*client.Loaded).Rate))
	busy := report.Median(report.Figures(all, (*client.Loaded).ClientBusy))
	for _, s := range schedules {
		if rate == 0 || !l.has(s.name) {
			continue
		}
		if s.name == "twice" && busy > busyForTwice {
			round.NotTwice = fmt.Sprintf("the client's core is more than %d %% busy at the server's limit, and could not offer twice as much", busyForTwice)
			continue
		}
		asked := s.part * rate
		loaded, err := l.load(ctx, l.warmup(s.name, l.run.Quick), "--rate", strconv.FormatFloat(asked, 'f', 1, 64), "--connections", strconv.Itoa(maxOpen()), "--timeout", patience.String())
		if err != nil {
			return err
		}
		round.Open[s.name] = &openRound{*loaded, asked, maxOpen()}
	}
	return nil
}

// load loads the server in one way.
func (l *loader) load(ctx context.Context, warmup time.Duration, args ...string) (*client.Loaded, error) {
	args = append(args, "--warmup", warmup.String(), "--duration", l.Duration.String())
	args = append(args, visitArgs(l.server.Protocol, l.Request)...)
	loaded, err := l.run.watched(ctx, l.server, l.kind, args...)
	if err != nil {
		return nil, err
	}
	loaded.Trim()
	return loaded, nil
}

// saturations returns the rounds' loads at saturation, of those that have one.
func saturations(rounds []*handshakeRound) (loads []*client.Loaded) {
	for _, r := range rounds {
		if r.Saturation != nil {
			loads = append(loads, r.Saturation)
		}
	}
	return loads
}
