//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

func init() {
	register(Entry{
		Name: "soak", Title: "Soak", Help: "Many clients that vanish at random moments; nothing may be left behind.",
		New: func() Scenario { return new(soak) }, NoRounds: true,
	})
}

// soak checks that nothing is left of clients that vanish.
type soak struct {
	Handshakes int    `default:"20000" min:"1" help:"How many connections."`
	Clients    int    `default:"128" min:"1" help:"Connections at a time, without those that have fallen silent."`
	Silent     int    `default:"500" min:"0" help:"The most connections at a time that have fallen silent."`
	Key        string `enum:"${keys}" default:"ecdsa-p256" help:"The server's key: ${enum}."`
	Server     string `enum:"jobloop,jobloop-multibuffer,jobloop-offload,goroutines,goroutines-multibuffer,nethttp,nethttp-multibuffer" default:"jobloop" help:"Which server: ${enum}."`
	Seed       uint64 `help:"Seed of the random choices; 0 takes one from the clock."`
}

// soakIdleTimeout is the server's; its handshake timeout is 10 seconds.
const soakIdleTimeout = 5 * time.Second

// soakLimit is how long the server may take to find out that the last silent
// clients are gone, and to give back what served them.
const soakLimit = 30 * time.Second

// rssSlack is what memory may grow by: a heap's size depends on when it was
// last collected. A leak of 1 KB a connection exceeds it within 50,000.
const rssSlack = 48 << 20

// soakState is what is looked at before and after, by name: a peer.State, and what
// the kernel says.
type soakState peer.State

// The kernel says these.
const (
	rss         = "RSS, MB"
	descriptors = "descriptors"
)

// soakCounts must be no more afterwards than before.
var soakCounts = []string{descriptors, peer.Goroutines, peer.Connections, peer.JobsPaused, peer.JobsQueued, peer.JobsAlive, peer.Coroutines}

// soakTotals only grow. They tell what the clients made the server do.
var soakTotals = []string{peer.JobsStarted, peer.JobsPanicked, peer.Operations, peer.Batches, peer.Fallbacks, peer.Unbound}

type soakResult struct {
	Server  string         `json:"server"`
	Seed    uint64         `json:"seed"`
	Elapsed time.Duration  `json:"elapsed_ns"`
	Left    map[string]int `json:"left"` // by moment and way
	Before  soakState      `json:"before"`
	After   soakState      `json:"after"`
}

func (s *soak) quick() { s.Handshakes, s.Clients, s.Silent = 2000, 32, 100 }

func (s *soak) measure(ctx context.Context, r *run) error {
	if s.Seed == 0 {
		s.Seed = uint64(time.Now().UnixNano())
	}
	peers, err := r.peers([]string{s.Server}, s.Key)
	if err != nil {
		return err
	}
	res := &soakResult{Server: s.Server, Seed: s.Seed, Left: make(map[string]int)}
	o := peer.Options{IdleTimeout: soakIdleTimeout, Metrics: true, Free: true}
	if err := r.with(ctx, peers[0], s.Key, o, func(srv *peer.Server) error { return s.look(ctx, srv, res) }); err != nil {
		return fmt.Errorf("seed %d: %w", s.Seed, err)
	}
	r.Results = res
	r.Add(momentTable(res), stateTable(res))
	r.Notef("%d connections in %v, %s with %s, seed %d; each moment with each way of leaving: reset, close, half-close, and silence until the server's timeout.",
		s.Handshakes, res.Elapsed.Round(time.Second), s.Server, s.Key, s.Seed)
	return res.check()
}

// look lets clients come and go, between two looks at the server.
func (s *soak) look(ctx context.Context, srv *peer.Server, res *soakResult) (err error) {
	// The first look is at a server that has had one client. Memory and totals are
	// compared with what the server has after a warm-up with all clients.
	first := &client.Visit{Moment: client.Moments[len(client.Moments)-1], Way: client.CloseBoth, Target: srv.Target()}
	if err := first.Run(ctx); err != nil {
		return err
	}
	if res.Before, err = quietState(ctx, srv, nil); err != nil {
		return err
	}
	if err := s.clients(ctx, srv.Target(), max(s.Handshakes/20, 2*s.Clients), make(map[string]int)); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	warm, err := quietState(ctx, srv, nil)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(soakTotals, []string{rss}) {
		if v, ok := warm[name]; ok {
			res.Before[name] = v
		}
	}
	begin := time.Now()
	if err := s.clients(ctx, srv.Target(), s.Handshakes, res.Left); err != nil {
		return err
	}
	res.Elapsed = time.Since(begin)
	res.After, err = quietState(ctx, srv, res.Before)
	return err
}

// clients runs n clients, some at a time, and counts how they left.
func (s *soak) clients(ctx context.Context, t client.Target, n int, left map[string]int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := make(chan struct{}, s.Silent)
	var wg, quiet sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Int64
	for worker := range s.Clients {
		rnd := rand.New(rand.NewPCG(s.Seed, uint64(worker)))
		wg.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				v := &client.Visit{Moment: client.Moments[rnd.IntN(len(client.Moments))], Way: client.Way(rnd.IntN(int(client.Ways))), Rand: rnd, Target: t}
				if v.Way == client.Silent {
					select {
					case silence <- struct{}{}:
					default: // enough are silent as it is
						v.Way = client.Reset
					}
				}
				if err := v.Run(ctx); err != nil {
					cancel(fmt.Errorf("client that left %s by %v: %w", v.Moment.Name, v.Way, err))
					return
				}
				if v.Way == client.Silent {
					quiet.Go(func() {
						defer func() { <-silence }()
						if err := v.AwaitEnd(); err != nil {
							cancel(fmt.Errorf("client that fell silent %s: %w", v.Moment.Name, err))
						}
					})
				}
				mu.Lock()
				left[v.Moment.Name+"/"+v.Way.String()]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	quiet.Wait()
	return context.Cause(ctx)
}

// quietState waits until the server has no connection, and as few descriptors,
// goroutines and jobs as before, or until it has had its time. What it has then
// is for check to judge.
func quietState(ctx context.Context, srv *peer.Server, before soakState) (soakState, error) {
	end := time.Now().Add(soakLimit)
	var last soakState
	for {
		s, err := takeState(ctx, srv)
		if err != nil {
			return nil, err
		}
		quiet := s[peer.Connections] == 0 && s[peer.JobsAlive] == 0
		if before != nil {
			quiet = quiet && s.leftover(before) == nil
		} else { // goroutines of the warm-up are still going
			quiet = quiet && s[peer.Goroutines] == last[peer.Goroutines] && s[descriptors] == last[descriptors]
		}
		if quiet || time.Now().After(end) {
			if srv.Free != nil { // garbage is no leak
				if err := srv.Free(ctx); err != nil {
					return nil, err
				}
			}
			bytes, err := process.SettledRSS(ctx, srv.PID(), soakLimit)
			s[rss] = float64(bytes) / 1e6
			return s, err
		}
		last = s
		if err := process.Sleep(ctx, 1500*time.Millisecond); err != nil { // more than the loop's interval of trimming
			return nil, err
		}
	}
}

func takeState(ctx context.Context, srv *peer.Server) (soakState, error) {
	m, err := srv.State(ctx)
	if err != nil {
		return nil, err
	}
	s := soakState(m)
	for _, name := range []string{peer.Goroutines, peer.Connections} {
		if _, ok := s[name]; !ok {
			return nil, fmt.Errorf("%s does not tell its %s", srv.Name, name)
		}
	}
	// The connection that asked may take a moment to go.
	if err := process.Sleep(ctx, 50*time.Millisecond); err != nil {
		return nil, err
	}
	n, err := process.Descriptors(srv.PID())
	s[descriptors] = float64(n)
	return s, err
}

// leftover says what there is more of than before.
func (s soakState) leftover(before soakState) error {
	var errs []error
	for _, name := range soakCounts {
		if s[name] > before[name] {
			errs = append(errs, fmt.Errorf("%s: %v before, %v after", name, before[name], s[name]))
		}
	}
	return errors.Join(errs...)
}

func (r *soakResult) check() error {
	var errs []error
	// A server without clients has these.
	none := soakState{descriptors: r.Before[descriptors], peer.Goroutines: r.Before[peer.Goroutines], peer.Coroutines: r.Before[peer.Coroutines]}
	if err := r.Before.leftover(none); err != nil {
		errs = append(errs, fmt.Errorf("left over from the first client: %w", err))
	}
	if err := r.After.leftover(r.Before); err != nil {
		errs = append(errs, fmt.Errorf("left over: %w", err))
	}
	for _, name := range []string{peer.JobsPanicked, peer.Fallbacks, peer.Unbound} {
		if n := r.After[name]; n > 0 {
			errs = append(errs, fmt.Errorf("%s: %v", name, n))
		}
	}
	if _, engine, has := strings.Cut(r.Server, "-"); has && r.After[peer.Operations] <= r.Before[peer.Operations] {
		errs = append(errs, fmt.Errorf("the engine %s has made no signature", engine))
	}
	if before, after := r.Before[rss], r.After[rss]; after > before+rssSlack/1e6 {
		errs = append(errs, fmt.Errorf("memory grew from %.0f to %.0f MB", before, after))
	}
	return errors.Join(errs...)
}

func momentTable(res *soakResult) *report.Table {
	t := &report.Table{Header: []string{"clients left"}}
	for w := range client.Ways {
		t.Header = append(t.Header, w.String())
	}
	for _, m := range client.Moments {
		row := []string{m.Name}
		for w := range client.Ways {
			row = append(row, strconv.Itoa(res.Left[m.Name+"/"+w.String()]))
		}
		t.Add(row...)
	}
	return t
}

func stateTable(res *soakResult) *report.Table {
	t := &report.Table{Header: []string{"server", "before", "after"}}
	for _, name := range slices.Concat(soakCounts, soakTotals, []string{rss}) {
		if before, ok := res.Before[name]; ok {
			t.Add(name, report.Figure(before), report.Figure(res.After[name]))
		}
	}
	return t
}
