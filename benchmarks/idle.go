//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// idle is the part that measures what connections cost that do nothing.
type idle struct {
	options
	Key         string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	Connections []int         `default:"1000,10000" help:"How many connections."`
	Watch       time.Duration `default:"10s" help:"How long to watch them idle."`
	Rest        time.Duration `default:"12s" help:"How long they idle before that: timers of their handshakes and requests, 10 seconds in most servers, run out."`
	Settle      time.Duration `default:"20s" help:"The longest wait for a server's memory to become steady."`
	Rounds      int           `default:"3" help:"Rounds; in each, every server is measured once."`
	Servers     []string      `enum:"jobloop,goroutines,goroutines-frugal,nethttp,fasthttp,nginx,haproxy" default:"jobloop,goroutines,goroutines-frugal,nethttp,fasthttp,nginx,haproxy" help:"What to measure, of ${enum}."`
}

// idleResult is what one server needed for a number of connections.
type idleResult struct {
	Server      string        `json:"server"`
	Connections int           `json:"connections"`
	RSSBefore   int64         `json:"rss_before_bytes"`
	RSSAfter    int64         `json:"rss_after_bytes"`
	Watched     time.Duration `json:"watched_ns"`
	CPU         time.Duration `json:"cpu_ns"`
	Switches    int64         `json:"context_switches"`
}

func (r *idleResult) perConnection() float64 {
	return float64(r.RSSAfter-r.RSSBefore) / float64(r.Connections) / 1000
}

var idleColumns = []measured[*idleResult]{
	{"RSS before, MB", func(r *idleResult) float64 { return float64(r.RSSBefore) / 1e6 }},
	{"with connections, MB", func(r *idleResult) float64 { return float64(r.RSSAfter) / 1e6 }},
	{"KB each", (*idleResult).perConnection},
	{"CPU while idle, ms/s", func(r *idleResult) float64 { return r.CPU.Seconds() * 1e3 / r.Watched.Seconds() }},
	{"context switches/s", func(r *idleResult) float64 { return float64(r.Switches) / r.Watched.Seconds() }},
}

func (d *idle) Run(ctx context.Context) error {
	if d.Quick {
		d.Connections, d.Watch, d.Rest, d.Settle, d.Rounds = []int{200}, 200*time.Millisecond, 0, 500*time.Millisecond, 1
	}
	r, err := d.newReport("idle")
	if err != nil {
		return err
	}
	names, notes, err := runnableOrError(d.Servers, d.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		contenders, err := d.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, d.Key)
		if err != nil {
			return err
		}
		t := &bench.Table{Header: headings(idleColumns, "server", "connections")}
		all := make(map[int]map[string][]*idleResult) // by connections and server
		var failed []error
		for _, n := range d.Connections {
			results := make(map[string][]*idleResult)
			all[n] = results
			err := rounds(ctx, d.Rounds, contenders, func(c contender) error {
				res, err := d.measure(ctx, c, keys, n)
				if err == nil {
					results[c.name] = append(results[c.name], res)
				}
				return err
			})
			if err != nil {
				failed = append(failed, fmt.Errorf("%d connections: %w", n, err))
			}
			for _, name := range names {
				t.Add(row(results[name], idleColumns, name, strconv.Itoa(n))...)
			}
			if ctx.Err() != nil {
				break
			}
		}
		r.Results = all
		plotIdle(r, names, d.Connections, all)
		err = r.finish(&d.options, append(notes,
			fmt.Sprintf("%s, TLS 1.3; each connection made one request, idled for %v, was watched idle for %v, and then answered another. %d rounds for each server in turn, a fresh process each: median (least–greatest).", d.Key, d.Rest, d.Watch, d.Rounds),
			"RSS is what the process holds when it has become steady, with what garbage its handshakes have left.",
		), t)
		return errors.Join(append(failed, err)...)
	})
}

func (d *idle) measure(ctx context.Context, c contender, keys *keys, n int) (*idleResult, error) {
	cert, err := keys.certificate()
	if err != nil {
		return nil, err
	}
	res := &idleResult{Server: c.name, Connections: n}
	return res, c.with(ctx, serverOptions{cert: cert, cpu: d.ServerCPU, idleTimeout: time.Hour}, func(s *server) (err error) {
		h, err := d.hold(ctx, s, cert, 1) // what the first connection costs, the program costs
		if err != nil {
			return err
		}
		if err := h.release(); err != nil {
			return err
		}
		if res.RSSBefore, err = bench.SettledRSS(ctx, s.pid(), d.Settle); err != nil {
			return err
		}
		if h, err = d.hold(ctx, s, cert, n); err != nil {
			return err
		}
		if err := d.watch(ctx, s.pid(), res); err != nil {
			return errors.Join(err, h.release())
		}
		return h.release()
	})
}

// watch takes the figures of a server whose connections are idle.
func (d *idle) watch(ctx context.Context, pid int, res *idleResult) (err error) {
	if err := bench.Sleep(ctx, d.Rest); err != nil {
		return err
	}
	if res.RSSAfter, err = bench.SettledRSS(ctx, pid, d.Settle); err != nil {
		return err
	}
	switches, err := contextSwitches(pid)
	if err != nil {
		return err
	}
	cpu, err := bench.CPUTime(pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := bench.Sleep(ctx, d.Watch); err != nil {
		return err
	}
	res.Watched = time.Since(begin)
	if res.CPU, err = bench.CPUTime(pid); err != nil {
		return err
	}
	if res.Switches, err = contextSwitches(pid); err != nil {
		return err
	}
	res.CPU -= cpu
	res.Switches -= switches
	return nil
}

// holder is a client process that holds connections.
type holder struct {
	cmd    *exec.Cmd
	stderr *tail
	in     io.Closer
	out    *bufio.Reader
}

// hold starts a holder and waits until all its connections are there.
func (d *idle) hold(ctx context.Context, s *server, cert *certificate, n int) (*holder, error) {
	cmd, stderr, err := clientCommand(ctx, "idle-client", s.addr,
		"--connections", strconv.Itoa(n), "--serial", strconv.FormatInt(cert.serial, 10))
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := bench.OnCPU(d.ClientCPU, cmd.Start); err != nil {
		return nil, err
	}
	h := &holder{cmd, stderr, in, bufio.NewReader(out)}
	return h, h.expect(idleReport{Open: n})
}

// release has the client use every connection once more, and end.
func (h *holder) release() error {
	h.in.Close()
	if err := h.expect(idleReport{Alive: true}); err != nil {
		return err
	}
	return h.cmd.Wait()
}

// idleReport is a line of the client's.
type idleReport struct {
	Open  int  `json:"open,omitempty"`  // connections that are there and idle
	Alive bool `json:"alive,omitempty"` // all of them have answered again
}

func (h *holder) expect(want idleReport) error {
	var got idleReport
	line, err := h.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &got)
	}
	if err == nil && got != want {
		err = fmt.Errorf("the client said %+v instead of %+v", got, want)
	}
	if err == nil {
		return nil
	}
	h.cmd.Process.Kill()
	return fmt.Errorf("idle-client: %w", errors.Join(err, h.cmd.Wait(), errors.New(h.stderr.text())))
}
