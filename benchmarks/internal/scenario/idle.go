//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

func init() {
	register(Entry{
		Name: "idle", Title: "Idle connections", Help: "Memory and CPU of idle TLS connections.",
		New: func() Scenario { return new(idle) }, Usual: true,
	})
}

// idle measures what connections cost that do nothing, with their handshake done or in
// the middle of it.
type idle struct {
	Key         string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	State       client.State  `enum:"established,half-handshake,half-hello,connected" default:"established" help:"How far the connections have come: any of ${enum}. With half-handshake, a client has received all that the server sends and does not send the end of the handshake. With half-hello it has sent half of its hello, with connected nothing."`
	Connections []int         `default:"1000,10000" min:"1" help:"How many connections."`
	Watch       time.Duration `default:"10s" min:"1ns" help:"How long to watch them idle."`
	Rest        time.Duration `default:"12s" min:"0s" help:"How long they idle before that: timers of their handshakes and requests, 10 seconds in most servers, run out."`
	Settle      time.Duration `default:"20s" min:"0s" help:"The longest wait for a server's memory to become steady."`
	Rounds      int           `default:"3" min:"1" help:"Rounds; in each, every server is measured once."`
	Servers     []string      `enum:"${peers}" default:"jobloop,goroutines,goroutines-frugal,nethttp,fasthttp,nginx,haproxy" help:"What to measure: any of ${enum}. The connections of gnet are without TLS."`
}

// idleResult is what one server needed for a number of connections.
type idleResult struct {
	Server      string        `json:"server"`
	State       client.State  `json:"state"`
	Connections int           `json:"connections"`
	RSSBefore   int64         `json:"rss_before_bytes"`
	RSSAfter    int64         `json:"rss_after_bytes"`
	FreedBefore int64         `json:"rss_before_freed_bytes,omitempty"` // when garbage was collected and given back
	FreedAfter  int64         `json:"rss_after_freed_bytes,omitempty"`
	Watched     time.Duration `json:"watched_ns"`
	CPU         time.Duration `json:"cpu_ns"`
	Switches    int64         `json:"context_switches"`
}

func (r *idleResult) perConnection() float64 {
	return float64(r.RSSAfter-r.RSSBefore) / float64(r.Connections) / 1000
}

// live is NaN for a server that cannot be told to give memory back.
func (r *idleResult) live() float64 {
	if r.FreedAfter == 0 {
		return math.NaN()
	}
	return float64(r.FreedAfter-r.FreedBefore) / float64(r.Connections) / 1000
}

var idleColumns = []report.Column[*idleResult]{
	{Name: "RSS before, MB", Of: func(r *idleResult) float64 { return float64(r.RSSBefore) / 1e6 }},
	{Name: "with connections, MB", Of: func(r *idleResult) float64 { return float64(r.RSSAfter) / 1e6 }},
	{Name: "KB each", Of: (*idleResult).perConnection},
	{Name: "KB each, live", Of: (*idleResult).live},
	{Name: "CPU while idle, ms/s", Of: func(r *idleResult) float64 { return r.CPU.Seconds() * 1e3 / r.Watched.Seconds() }},
	{Name: "context switches/s", Of: func(r *idleResult) float64 { return float64(r.Switches) / r.Watched.Seconds() }},
}

func (d *idle) quick() {
	d.Connections, d.Watch, d.Rest, d.Settle, d.Rounds = []int{200}, 200*time.Millisecond, 0, 500*time.Millisecond, 1
}

func (d *idle) check() error {
	if d.State == client.Established {
		return nil
	}
	for _, name := range d.Servers {
		if !slices.Contains(peer.Names(peer.HTTPS), name) {
			return fmt.Errorf("--servers: %s has no handshakes, and --state is %s", name, d.State)
		}
	}
	return nil
}

func (d *idle) measure(ctx context.Context, r *run) error {
	peers, err := r.peers(d.Servers, d.Key)
	if err != nil {
		return err
	}
	names := namesOf(peers)
	table, title := d.Key, "Memory of an idle TLS connection"
	if d.State != client.Established {
		table, title = fmt.Sprintf("%s, %s", d.Key, d.State), fmt.Sprintf("Memory of an idle connection: %s", d.State)
	}
	t := report.NewTable(table, idleColumns, "server", "connections")
	all := make(map[int]map[string][]*idleResult) // by connections and server
	var bars []report.Bar
	var failed []error
	for _, n := range d.Connections {
		results, err := collect(ctx, d.Rounds, peers, func(p peer.Peer) (*idleResult, error) { return d.one(ctx, r, p, n) })
		if err != nil {
			failed = append(failed, fmt.Errorf("%d connections: %w", n, err))
		}
		all[n] = results
		for _, name := range names {
			report.AddRow(t, results[name], idleColumns, name, strconv.Itoa(n))
		}
		bars = append(bars, report.NewBar(strconv.Itoa(n)+" connections", names, results, (*idleResult).perConnection))
		if ctx.Err() != nil {
			break
		}
	}
	r.Results = all
	r.Add(t)
	r.AddBars("idle", title, "KB", names, false, bars...)
	r.Notef("%s, TLS 1.3. Each connection %s. %s for each server in turn, a fresh process each: median (least–greatest).", d.Key, d.story(), roundsText(d.Rounds))
	r.Note("RSS is what the process holds when it has become steady, with the garbage that its handshakes have left.",
		"Live is what is left when garbage has been collected and given back to the system, in the servers that can be told to do so.")
	return errors.Join(failed...)
}

// story is what a connection does.
func (d *idle) story() string {
	idled := fmt.Sprintf("idled for %v, was watched idle for %v, and then", d.Rest, d.Watch)
	switch d.State {
	case client.HalfHandshake:
		return "received the server's flight and did not send the end of the handshake, " + idled + " sent it and made a request"
	case client.HalfHello:
		return "sent half of its hello, " + idled + " sent the rest of the handshake and made a request"
	case client.Connected:
		return "sent nothing, " + idled + " made its handshake and a request"
	}
	return "made one request (gnet: one echo, without TLS), " + idled + " answered another"
}

func (d *idle) one(ctx context.Context, r *run, p peer.Peer, n int) (*idleResult, error) {
	res := &idleResult{Server: p.Name(), State: d.State, Connections: n}
	o := peer.Options{Protocol: peer.Speak(p, peer.HTTPS, peer.PlainEcho), IdleTimeout: time.Hour, Free: true}
	if d.State != client.Established {
		o.HandshakeTimeout = time.Hour
	}
	return res, r.with(ctx, p, d.Key, o, func(s *peer.Server) error {
		// The first connection has costs that do not come again: it is not measured.
		if err := client.Hold(ctx, r.ClientCPU, s.Target(), 1, client.Established, func() error { return nil }); err != nil {
			return err
		}
		if err := d.memory(ctx, s, &res.RSSBefore, &res.FreedBefore); err != nil {
			return err
		}
		descriptors, err := process.Descriptors(s.PID())
		if err != nil {
			return err
		}
		return client.Hold(ctx, r.ClientCPU, s.Target(), n, d.State, func() error {
			if err := d.watch(ctx, s, res); err != nil {
				return err
			}
			return holds(s, descriptors+n)
		})
	})
}

// holds returns an error unless a server has so many descriptors: a connection that it
// has not accepted, or has closed, costs it nothing.
func holds(s *peer.Server, least int) error {
	n, err := process.Descriptors(s.PID())
	if err == nil && n < least {
		err = fmt.Errorf("it has %d descriptors, and not all connections: those would be %d", n, least)
	}
	return err
}

// memory takes a server's memory, as it is and without garbage.
func (d *idle) memory(ctx context.Context, s *peer.Server, asItIs, freed *int64) (err error) {
	if *asItIs, err = process.SettledRSS(ctx, s.PID(), d.Settle); err != nil || s.Free == nil {
		return err
	}
	if err := s.Free(ctx); err != nil {
		return err
	}
	*freed, err = process.SettledRSS(ctx, s.PID(), d.Settle)
	return err
}

// watch takes the figures of a server whose connections are idle.
func (d *idle) watch(ctx context.Context, s *peer.Server, res *idleResult) error {
	if err := process.Sleep(ctx, d.Rest); err != nil {
		return err
	}
	if err := d.memory(ctx, s, &res.RSSAfter, &res.FreedAfter); err != nil {
		return err
	}
	before, err := process.TakeUsage(s.PID(), process.AnyCPU)
	if err != nil {
		return err
	}
	if err := process.Sleep(ctx, d.Watch); err != nil {
		return err
	}
	after, err := process.TakeUsage(s.PID(), process.AnyCPU)
	res.Watched, res.CPU, res.Switches = after.When.Sub(before.When), after.CPU-before.CPU, after.Switches-before.Switches
	return err
}
