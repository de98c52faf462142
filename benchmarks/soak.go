//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// soak is the part that checks that nothing is left of clients that vanish.
type soak struct {
	options
	Handshakes int    `default:"20000" help:"How many connections."`
	Clients    int    `default:"128" help:"Connections at a time, without those that have fallen silent."`
	Silent     int    `default:"500" help:"The most connections at a time that have fallen silent."`
	Key        string `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"ecdsa-p256" help:"The server's key: ${enum}."`
	Server     string `enum:"jobloop,jobloop-multibuffer,jobloop-offload" default:"jobloop" help:"Which of our servers: ${enum}."`
	Seed       uint64 `help:"Of the random choices; 0 takes one from the clock."`
}

// soakIdleTimeout is the server's; its handshake timeout is 10 seconds.
const soakIdleTimeout = 5 * time.Second

// soakLimit is how long the server may take to find out that the last silent
// clients are gone, and to give back what served them.
const soakLimit = 30 * time.Second

// soakState is what must be the same before and after.
type soakState struct {
	RSS         int64   `json:"rss_bytes"`
	Descriptors int     `json:"descriptors"`
	Goroutines  float64 `json:"goroutines"`
	Connections float64 `json:"connections"`
	JobsPaused  float64 `json:"jobs_paused"`
	JobsQueued  float64 `json:"jobs_queued"`
	JobsAlive   float64 `json:"jobs_alive"` // started and not finished
	PoolSize    float64 `json:"pool_size"`
	Started     float64 `json:"jobs_started"`
	Panicked    float64 `json:"jobs_panicked"`
}

type soakResult struct {
	Seed          uint64         `json:"seed"`
	Elapsed       time.Duration  `json:"elapsed_ns"`
	Left          map[string]int `json:"left"` // by moment and way
	Before, After soakState
}

func (s *soak) Run(ctx context.Context) error {
	if s.Quick {
		s.Handshakes, s.Clients, s.Silent = 2000, 32, 100
	}
	if s.Seed == 0 {
		s.Seed = uint64(time.Now().UnixNano())
	}
	r, err := s.newReport("soak")
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		names, _, err := runnableOrError([]string{s.Server}, s.Key)
		if err != nil {
			return err
		}
		contenders, err := s.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, s.Key)
		if err != nil {
			return err
		}
		cert, err := keys.certificate()
		if err != nil {
			return err
		}
		res := &soakResult{Seed: s.Seed}
		o := serverOptions{cert: cert, cpu: s.ServerCPU, idleTimeout: soakIdleTimeout, metrics: true}
		err = contenders[0].with(ctx, o, func(srv *server) error { return s.measure(ctx, srv, cert, res) })
		r.Results = res
		if err != nil {
			return fmt.Errorf("seed %d: %w", s.Seed, err)
		}
		notes := []string{fmt.Sprintf("%d connections in %v, %s with %s, seed %d; each moment with each way of leaving: reset, close, half-close, and silence until the server's timeout.",
			s.Handshakes, res.Elapsed.Round(time.Second), s.Server, s.Key, s.Seed)}
		return errors.Join(r.finish(&s.options, notes, momentTable(res), stateTable(res)), res.check())
	})
}

// measure lets clients come and go, between two looks at the server.
func (s *soak) measure(ctx context.Context, srv *server, cert *certificate, res *soakResult) (err error) {
	// The first look is at a server that has had one client; but its memory is
	// compared with what it has after a warm-up at full width.
	first := &visit{moment: moments[len(moments)-1], way: closeBoth, serial: cert.serial}
	if err := first.run(ctx, srv.addr); err != nil {
		return err
	}
	if res.Before, err = quietState(ctx, srv, nil); err != nil {
		return err
	}
	if err := s.clients(ctx, srv.addr, cert, max(s.Handshakes/20, 2*s.Clients), nil); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	warm, err := quietState(ctx, srv, nil)
	if err != nil {
		return err
	}
	res.Before.RSS, res.Before.Started = warm.RSS, warm.Started
	begin := time.Now()
	res.Left = make(map[string]int)
	if err := s.clients(ctx, srv.addr, cert, s.Handshakes, res.Left); err != nil {
		return err
	}
	res.Elapsed = time.Since(begin)
	res.After, err = quietState(ctx, srv, &res.Before)
	return err
}

// clients runs n clients, some at a time, and counts how they left.
func (s *soak) clients(ctx context.Context, addr string, cert *certificate, n int, left map[string]int) error {
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
				v := &visit{moment: moments[rnd.IntN(len(moments))], way: way(rnd.IntN(int(ways))), rnd: rnd, serial: cert.serial}
				if v.way == silent {
					select {
					case silence <- struct{}{}:
					default: // enough are silent as it is
						v.way = reset
					}
				}
				if err := v.run(ctx, addr); err != nil {
					cancel(fmt.Errorf("client that left %s by %v: %w", v.moment.name, v.way, err))
					return
				}
				if v.way == silent {
					quiet.Go(func() {
						defer func() { <-silence }()
						if err := v.awaitEnd(); err != nil {
							cancel(fmt.Errorf("client that fell silent %s: %w", v.moment.name, err))
						}
					})
				}
				if left != nil {
					mu.Lock()
					left[v.moment.name+"/"+v.way.String()]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	quiet.Wait()
	return context.Cause(ctx)
}

// visit is one client's.
type visit struct {
	moment moment
	way    way
	rnd    *rand.Rand
	serial int64
	conn   *net.TCPConn
}

// run connects, goes on to the moment and leaves. What is an error is only what
// happens before that.
func (v *visit) run(ctx context.Context, addr string) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	v.conn = nc.(*net.TCPConn)
	v.conn.SetDeadline(time.Now().Add(ioTimeout))
	if err := v.talk(); err != nil && !errors.Is(err, errVanished) {
		v.conn.Close()
		return err
	}
	switch v.way {
	case reset:
		v.conn.SetLinger(0)
		v.conn.Close()
	case closeBoth:
		v.conn.Close()
	case closeHalf:
		v.conn.CloseWrite()
		return v.awaitEnd()
	}
	return nil
}

func (v *visit) talk() error {
	t := tls.Client(&vanishing{Conn: v.conn, moment: v.moment, rnd: v.rnd}, clientConfig)
	if err := t.Handshake(); err != nil {
		return err
	}
	if err := checkHandshake(t, big.NewInt(v.serial)); err != nil {
		return err
	}
	return exchange(t, make([]byte, 4096))
}

// awaitEnd waits for the server to close the connection, and closes it too.
func (v *visit) awaitEnd() error {
	defer v.conn.Close()
	v.conn.SetDeadline(time.Now().Add(ioTimeout))
	_, err := io.Copy(io.Discard, v.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the server has kept the connection for %v", ioTimeout)
	}
	return nil
}

// quietState waits until the server has no connection, and as few descriptors,
// goroutines and jobs as before, or until it has had its time. What it has then
// is for check to judge.
func quietState(ctx context.Context, srv *server, before *soakState) (soakState, error) {
	end := time.Now().Add(soakLimit)
	var last soakState
	for {
		s, err := takeState(ctx, srv)
		if err != nil {
			return s, err
		}
		quiet := s.Connections == 0 && s.JobsAlive == 0
		if before != nil {
			quiet = quiet && s.leftover(before) == nil
		} else { // goroutines of the warm-up are still going
			quiet = quiet && s.Goroutines == last.Goroutines && s.Descriptors == last.Descriptors
		}
		if quiet || time.Now().After(end) {
			s.RSS, err = bench.SettledRSS(ctx, srv.pid(), soakLimit)
			return s, err
		}
		last = s
		if err := bench.Sleep(ctx, 1500*time.Millisecond); err != nil { // more than the loop's interval of trimming
			return s, err
		}
	}
}

func takeState(ctx context.Context, srv *server) (s soakState, err error) {
	m, err := scrape(ctx, srv.metrics)
	if err != nil {
		return s, err
	}
	for _, f := range []struct {
		name string
		to   *float64
	}{
		{"go_goroutines", &s.Goroutines},
		{"jobloop_connections", &s.Connections},
		{"jobloop_jobs_paused", &s.JobsPaused},
		{"jobloop_jobs_queued", &s.JobsQueued},
		{"jobloop_jobs_started_total", &s.Started},
		{"jobloop_jobs_finished_total", &s.JobsAlive},
		{"jobloop_jobs_panicked_total", &s.Panicked},
		{"jobloop_pool_size", &s.PoolSize},
	} {
		v, ok := m[f.name]
		if !ok {
			return s, fmt.Errorf("%s has no %s", srv.metrics, f.name)
		}
		*f.to = v
	}
	s.JobsAlive = s.Started - s.JobsAlive
	// The scrape's own connection may take a moment to go.
	if err := bench.Sleep(ctx, 50*time.Millisecond); err != nil {
		return s, err
	}
	s.Descriptors, err = descriptors(srv.pid())
	return s, err
}

// leftover says what there is more of than before.
func (s *soakState) leftover(before *soakState) error {
	var errs []error
	for _, f := range s.counts(before) {
		if f.after > f.before {
			errs = append(errs, fmt.Errorf("%s: %v before, %v after", f.name, f.before, f.after))
		}
	}
	return errors.Join(errs...)
}

type soakCount struct {
	name          string
	before, after float64
}

func (s *soakState) counts(before *soakState) []soakCount {
	return []soakCount{
		{"descriptors", float64(before.Descriptors), float64(s.Descriptors)},
		{"goroutines", before.Goroutines, s.Goroutines},
		{"connections", before.Connections, s.Connections},
		{"jobs paused", before.JobsPaused, s.JobsPaused},
		{"jobs queued", before.JobsQueued, s.JobsQueued},
		{"jobs started and not finished", before.JobsAlive, s.JobsAlive},
		{"coroutines in the pool", before.PoolSize, s.PoolSize},
	}
}

// rssSlack is what memory may grow by: a heap's size depends on when it was
// last collected. A leak of 1 KB a connection exceeds it within 50,000.
const rssSlack = 48 << 20

func (r *soakResult) check() error {
	var errs []error
	if err := r.Before.leftover(&soakState{Descriptors: r.Before.Descriptors, Goroutines: r.Before.Goroutines, PoolSize: r.Before.PoolSize}); err != nil {
		errs = append(errs, fmt.Errorf("left over from the first client: %w", err))
	}
	if err := r.After.leftover(&r.Before); err != nil {
		errs = append(errs, fmt.Errorf("left over: %w", err))
	}
	if r.After.Panicked > 0 {
		errs = append(errs, fmt.Errorf("%v jobs panicked", r.After.Panicked))
	}
	if r.After.RSS > r.Before.RSS+rssSlack {
		errs = append(errs, fmt.Errorf("memory grew from %d to %d MB", r.Before.RSS>>20, r.After.RSS>>20))
	}
	return errors.Join(errs...)
}

func momentTable(res *soakResult) *bench.Table {
	t := &bench.Table{Header: []string{"clients left"}}
	for w := range ways {
		t.Header = append(t.Header, w.String())
	}
	for _, m := range moments {
		row := []string{m.name}
		for w := range ways {
			row = append(row, strconv.Itoa(res.Left[m.name+"/"+w.String()]))
		}
		t.Add(row...)
	}
	return t
}

func stateTable(res *soakResult) *bench.Table {
	t := &bench.Table{Header: []string{"server", "before", "after"}}
	for _, f := range res.After.counts(&res.Before) {
		t.Add(f.name, bench.Figure(f.before), bench.Figure(f.after))
	}
	t.Add("jobs started", fmt.Sprintf("%.0f", res.Before.Started), fmt.Sprintf("%.0f", res.After.Started))
	t.Add("jobs panicked", bench.Figure(res.Before.Panicked), bench.Figure(res.After.Panicked))
	t.Add("RSS, MB", bench.Figure(float64(res.Before.RSS)/1e6), bench.Figure(float64(res.After.RSS)/1e6))
	return t
}
