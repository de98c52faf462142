//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// handshakes is the part that measures handshakes: at saturation, and with
// clients that come on schedule, at half of that rate and at twice it.
type handshakes struct {
	options
	Key      []string      `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048,ecdsa-p256" help:"The servers' keys, of ${enum}."`
	TLS      []string      `name:"tls" enum:"1.3,1.2" default:"1.3,1.2" help:"TLS versions, of ${enum}."`
	Resume   []string      `enum:"full,resumed" default:"full,resumed" help:"Kinds of handshakes, of ${enum}."`
	Clients  int           `default:"64" help:"Connections at a time; 1 for the latency of a client that is alone."`
	Rounds   int           `default:"5" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"5s" help:"How long each load of a server is measured in a round."`
	Warmup   time.Duration `default:"1s" help:"Load before that. Before twice the rate it is at least 5s, but with --quick: what is measured is to be the steady overload, and not its beginning."`
	Request  bool          `default:"true" negatable:"" help:"Make one request after each handshake: its answer proves that the server has finished the handshake too."`
	Load     []string      `enum:"half,twice,none" default:"half,twice" help:"At which part of the rate at saturation to measure latency, with clients that come on schedule, of ${enum}."`
	Servers  []string      `enum:"jobloop,jobloop-multibuffer,jobloop-offload,goroutines,nethttp,fasthttp,nginx,haproxy" default:"jobloop-multibuffer,jobloop,jobloop-offload,goroutines,nginx,haproxy" help:"What to measure, of ${enum}."`

	program string // of the client
}

// handshakeRound is what was found out about one server in one round.
type handshakeRound struct {
	Saturation *loadRound `json:"saturation,omitempty"`
	Half       *openRound `json:"half,omitempty"`
	Twice      *openRound `json:"twice,omitempty"`
	NotTwice   string     `json:"twice_skipped,omitempty"` // why
	Failed     string     `json:"failed,omitempty"`        // why there are no figures
}

// openRound is a round with clients that come on schedule.
type openRound struct {
	loadRound
	Asked       float64 `json:"rate_asked_per_s"`
	Connections int     `json:"connections_at_most"` // of the client
}

// handshakeResults are those of one combination, by server.
type handshakeResults struct {
	What    combination                  `json:"what"`
	Servers []string                     `json:"servers"`
	Rounds  map[string][]*handshakeRound `json:"rounds"`
}

// busyForTwice is how busy the client's core may be at the server's limit, in
// percent, if it is to offer twice as many handshakes. That cost it 1.4 times as
// much with RSA-2048: those that are not served end after the hello.
const busyForTwice = 65

// patience is how long a client waits that comes on schedule. Overload is steady
// only when the first of those that are not served have given up, and those that
// came after these find a server as busy as it stays: after two and a half times
// as long.
const (
	patience       = 2 * time.Second
	overloadWarmup = patience * 5 / 2
)

// openConnections is how many connections at a time the client may have that
// comes on schedule, if the limit of open files allows: twice the rate of a
// server that makes 4,000 handshakes a second, for as long as its clients wait.
const openConnections = 16000

func (h *handshakes) Run(ctx context.Context) error {
	if h.Quick {
		h.Rounds, h.Duration, h.Warmup = 1, 200*time.Millisecond, 100*time.Millisecond
	}
	if err := h.check(); err != nil {
		return err
	}
	r, err := h.newReport("handshakes")
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		var err error
		if h.program, err = h.loadProgram(ctx, dir); err != nil {
			return err
		}
		var notes, skipped []string
		var tables []*bench.Table
		var all []*handshakeResults
		var errs []error
		for _, what := range combinations(h.Key, h.TLS, h.Resume) {
			names, why := runnable(h.Servers, what.Key)
			for _, s := range why {
				if s = what.Key + ", " + s; !slices.Contains(skipped, s) {
					skipped = append(skipped, s)
				}
			}
			if len(names) == 0 {
				continue
			}
			progress("%v", what)
			res, err := h.combination(ctx, dir, what, names)
			if err != nil { // of some servers, and nothing of the others
				errs = append(errs, fmt.Errorf("%v: %w", what, err))
			}
			if res != nil {
				all = append(all, res)
				tables = append(tables, res.tables()...)
				notes = append(notes, res.warnings(h.Clients)...)
				errs = append(errs, res.errors()...)
			}
			if ctx.Err() != nil {
				break
			}
		}
		if len(all) == 0 && len(errs) == 0 {
			return nothingToMeasure(skipped)
		}
		notes = slices.Concat(h.notes(), skipped, notes)
		for _, err := range errs {
			notes = append(notes, "FAILED: "+strings.ReplaceAll(err.Error(), "\n", "; ")+".")
		}
		r.Results = all
		plotHandshakes(r, all)
		return errors.Join(append([]error{r.finish(&h.options, notes, tables...)}, errs...)...)
	})
}

// check finds what makes no sense before anything is started.
func (h *handshakes) check() error {
	switch {
	case h.Clients < 1:
		return fmt.Errorf("--clients: %d, at least 1 is needed", h.Clients)
	case h.Rounds < 1:
		return fmt.Errorf("--rounds: %d, at least 1 is needed", h.Rounds)
	case h.Duration <= 0:
		return fmt.Errorf("--duration: %v is no time to measure", h.Duration)
	case h.Warmup < 0:
		return fmt.Errorf("--warmup: %v is less than none", h.Warmup)
	case len(h.Load) > 1 && slices.Contains(h.Load, "none"):
		return errors.New("--load: none and others: choose")
	}
	return nil
}

// notes says what the figures of all tables are of.
func (h *handshakes) notes() []string {
	notes := []string{fmt.Sprintf("Saturation: %d clients at a time; %d rounds of %v for each server in turn: median (least–greatest).", h.Clients, h.Rounds, h.Duration)}
	if h.Request {
		notes = append(notes, "Figures are of a handshake with one request and its answer.")
	}
	if h.Clients == 1 {
		return append(notes, "One client at a time: the server is idle while the client computes, and handshakes/s says nothing of the server's limit.")
	}
	if h.has("half") || h.has("twice") {
		notes = append(notes, fmt.Sprintf("Half and twice: so much of the server's own rate at saturation, by clients that come on schedule whatever the server does, and give up after %v. Latency is from the moment a client was due, of those that were served. The warm-up is %v, and %v before twice the rate.", patience, h.Warmup, h.overloadWarmup()))
	}
	return notes
}

// has says whether to measure at a part of the rate at saturation. The rate of
// one client is none.
func (h *handshakes) has(part string) bool { return h.Clients > 1 && slices.Contains(h.Load, part) }

// combination measures all servers with one combination.
func (h *handshakes) combination(ctx context.Context, dir string, what combination, names []string) (*handshakeResults, error) {
	contenders, err := h.contenders(ctx, dir, names)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys(dir, what.Key)
	if err != nil {
		return nil, err
	}
	res := &handshakeResults{what, names, make(map[string][]*handshakeRound)}
	var same agreement
	return res, rounds(ctx, h.Rounds, contenders, func(c contender) error {
		cert, err := keys.certificate()
		if err != nil {
			return err
		}
		opts := serverOptions{cert: cert, cpu: h.ServerCPU, idleTimeout: time.Minute, tickets: what.resumed()}
		return c.with(ctx, opts, func(s *server) error {
			l := loader{h, what, s, cert, &same}
			round, err := l.round(ctx, res.Rounds[c.name])
			if err == nil || round.Saturation != nil {
				res.Rounds[c.name] = append(res.Rounds[c.name], round)
			}
			return err
		})
	})
}

// loader loads one start of a server.
type loader struct {
	*handshakes
	what combination
	s    *server
	cert *certificate
	same *agreement
}

// round measures a server once. before has its earlier rounds, whose rates count
// for what is half of its rate and twice it. A server that cannot be loaded like
// this is no reason not to measure the others.
func (l *loader) round(ctx context.Context, before []*handshakeRound) (*handshakeRound, error) {
	round := new(handshakeRound)
	err := l.loads(ctx, before, round)
	if errors.Is(err, errNotResumed) || errors.Is(err, errLoad) || errors.Is(err, errEndedEarly) {
		round.Failed = err.Error()
		err = nil
	}
	return round, err
}

// loads does the loads of a round.
func (l *loader) loads(ctx context.Context, before []*handshakeRound, round *handshakeRound) (err error) {
	if round.Saturation, err = l.load(ctx, l.Warmup, "--connections", strconv.Itoa(l.Clients), "--reset"); err != nil {
		return err
	}
	all := saturations(append(slices.Clone(before), round))
	rate := bench.Median(ofRounds(all, (*loadRound).rate))
	if rate == 0 {
		return nil
	}
	if l.has("half") {
		if round.Half, err = l.open(ctx, rate/2, l.Warmup); err != nil {
			return err
		}
	}
	if !l.has("twice") {
		return nil
	}
	if busy := bench.Median(ofRounds(all, (*loadRound).clientBusy)); busy > busyForTwice {
		round.NotTwice = fmt.Sprintf("the client's core is more than %d %% busy at the server's limit, and could not offer twice as much", busyForTwice)
		return nil
	}
	round.Twice, err = l.open(ctx, 2*rate, l.overloadWarmup())
	return err
}

// overloadWarmup is the warm-up before twice the rate.
func (h *handshakes) overloadWarmup() time.Duration {
	if h.Quick {
		return h.Warmup
	}
	return max(h.Warmup, overloadWarmup)
}

// open loads the server by schedule.
func (l *loader) open(ctx context.Context, rate float64, warmup time.Duration) (*openRound, error) {
	connections := min(openConnections, load.MaxConnections())
	r, err := l.load(ctx, warmup, "--rate", strconv.FormatFloat(rate, 'f', 1, 64), "--connections", strconv.Itoa(connections), "--timeout", patience.String(), "--reset")
	if err != nil {
		return nil, err
	}
	return &openRound{*r, rate, connections}, nil
}

// load loads the server in one way, and checks who was reached and how.
func (l *loader) load(ctx context.Context, warmup time.Duration, args ...string) (*loadRound, error) {
	args = append(append(l.what.args(), args...), "--warmup", warmup.String(), "--duration", l.Duration.String())
	if l.Request {
		args = append(args, "--request", "/")
	}
	r, err := l.loadAndWatch(ctx, l.program, l.s, append(args, l.s.addr)...)
	if err != nil {
		return nil, err
	}
	if err := l.same.check(l.s.name, l.what, r.Load, l.cert); err != nil {
		return nil, err
	}
	r.Load.Series, r.Load.Distribution = nil, nil // many, and no part of the report
	return r, nil
}

// saturations returns the rounds' loads at saturation, of those that have one.
func saturations(rounds []*handshakeRound) (loads []*loadRound) {
	for _, r := range rounds {
		if r.Saturation != nil {
			loads = append(loads, r.Saturation)
		}
	}
	return loads
}

// comparisons returns which server to compare with which: each of ours with
// every peer, and with those of ours that are named after it.
func comparisons(names []string) (pairs [][2]string) {
	ours := func(name string) bool { return engines[name] != "" }
	for i, name := range names {
		for j, other := range names {
			if ours(name) && (!ours(other) || j > i) {
				pairs = append(pairs, [2]string{name, other})
			}
		}
	}
	return pairs
}
