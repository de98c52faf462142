//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// idleRound is what was measured of one server in one round.
type idleRound struct {
	Connections int   `json:"connections"`
	Before      int64 `json:"rss_before_bytes"`
	After       int64 `json:"rss_after_bytes"`        // with connections
	BeforeFreed int64 `json:"rss_before_freed_bytes"` // when garbage was collected and given back
	AfterFreed  int64 `json:"rss_after_freed_bytes"`
}

var idleColumns = []column[*idleRound]{
	{"KB each, live", func(r *idleRound) float64 { return float64(r.AfterFreed-r.BeforeFreed) / 1e3 / float64(r.Connections) }},
	{"with garbage", func(r *idleRound) float64 { return float64(r.After-r.Before) / 1e3 / float64(r.Connections) }},
	{"RSS before, MB", func(r *idleRound) float64 { return float64(r.Before) / 1e6 }},
	{"with connections, MB", func(r *idleRound) float64 { return float64(r.After) / 1e6 }},
}

func (m *measure) idle(ctx context.Context, dir string) (*result, error) {
	cert, err := newCertificate(dir, keyECDSA)
	if err != nil {
		return nil, err
	}
	var all []*series[*idleRound]
	for _, name := range m.servers(nameGnetjobs, nameJob, nameGoroutines, nameGnet) {
		all = append(all, &series[*idleRound]{Server: name})
	}
	if len(all) == 0 {
		return nil, errNoServer
	}
	err = measureRounds(ctx, m.Rounds, all, func(s *series[*idleRound]) (*idleRound, error) {
		return m.idleRound(ctx, s.Server, cert)
	})
	notes := []string{
		fmt.Sprintf("%d connections, TLS 1.3; gnet is without TLS. Each has exchanged one message of %d bytes, idled for %v, and exchanged another afterwards. %d rounds for each server in turn: median (least–greatest).", m.Connections, idleSize, m.rest(), m.Rounds),
		fmt.Sprintf("KB are of a thousand bytes of resident memory more than the same process had before, when one connection had come and gone: with the garbage that handshakes have left, and live, when garbage had been collected and given back. The goroutine server has a buffer of %d bytes for each connection, which is in the figure. The kernel's memory is not.", smallBuffer),
	}
	return &result{Results: all, Notes: notes, table: tableOf(all, idleColumns)}, err
}

// rest is how long connections idle before memory is measured: timers of their
// handshakes run out in that time.
func (m *measure) rest() time.Duration {
	if m.Quick {
		return 0
	}
	return handshakeTimeout + 2*time.Second
}

// settle is the longest wait for a server's memory to become steady.
func (m *measure) settle() time.Duration {
	if m.Quick {
		return 200 * time.Millisecond
	}
	return 20 * time.Second
}

func (m *measure) idleRound(ctx context.Context, name string, cert *certificate) (*idleRound, error) {
	r := &idleRound{Connections: m.Connections}
	return r, m.with(ctx, name, cert, smallBuffer, func(s *server) (int64, error) {
		if err := m.held(ctx, s, cert, 1, func() error { return nil }); err != nil { // what the first connection costs, the program costs
			return 0, err
		}
		if err := m.memory(ctx, s, &r.Before, &r.BeforeFreed); err != nil {
			return 0, err
		}
		err := m.held(ctx, s, cert, m.Connections, func() error {
			if err := bench.Sleep(ctx, m.rest()); err != nil {
				return err
			}
			return m.memory(ctx, s, &r.After, &r.AfterFreed)
		})
		if !hasTLS(name) {
			return 0, err
		}
		return 1 + int64(m.Connections), err
	})
}

// memory takes a server's memory, as it is and without garbage.
func (m *measure) memory(ctx context.Context, s *server, asItIs, freed *int64) (err error) {
	if *asItIs, err = bench.SettledRSS(ctx, s.cmd.Process.Pid, m.settle()); err != nil {
		return err
	}
	switch line, err := s.tell(tellFree); {
	case err != nil:
		return err
	case !line.Freed:
		return fmt.Errorf("%s said %+v", s.name, line)
	}
	*freed, err = bench.SettledRSS(ctx, s.cmd.Process.Pid, m.settle())
	return err
}

// held calls f while a client holds n connections to the server.
func (m *measure) held(ctx context.Context, s *server, cert *certificate, n int, f func() error) error {
	args := append([]string{"idle-client"}, s.target(cert).args()...)
	cmd, stderr, err := command(ctx, append(args, "--connections", strconv.Itoa(n))...)
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := bench.OnCPU(m.ClientCPU, cmd.Start); err != nil {
		return fmt.Errorf("start idle-client: %w", err)
	}
	h := &holder{cmd, stderr, json.NewDecoder(bufio.NewReader(out))}
	if err := h.expect(idleReport{Open: n}); err != nil {
		return err
	}
	if err := f(); err != nil {
		return h.kill(err)
	}
	in.Close()
	if err := h.expect(idleReport{Alive: true}); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return ended("idle-client", err, stderr)
	}
	return nil
}

// holder is a client that holds connections.
type holder struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	out    *json.Decoder
}

// idleReport is a line of the client's.
type idleReport struct {
	Open  int  `json:"open,omitempty"`  // connections that are there and idle
	Alive bool `json:"alive,omitempty"` // all of them have echoed again
}

func (h *holder) expect(want idleReport) error {
	var got idleReport
	err := h.out.Decode(&got)
	if errors.Is(err, io.EOF) {
		if err = h.cmd.Wait(); err != nil {
			return ended("idle-client", err, h.stderr)
		}
		return errors.New("idle-client has ended")
	}
	if err == nil && got != want {
		err = fmt.Errorf("it said %+v instead of %+v", got, want)
	}
	if err != nil {
		return ended("idle-client", h.kill(err), h.stderr)
	}
	return nil
}

func (h *holder) kill(err error) error {
	h.cmd.Process.Kill()
	h.cmd.Wait()
	return err
}

// idleClient is the process that holds idle connections. Nothing in it runs
// while they are idle.
type idleClient struct {
	target
	Connections int
}

const (
	idleSize = 64 // of a message
	openers  = 32 // connections that are being opened, or used, at a time
)

func (c *idleClient) Run(ctx context.Context) error {
	all := make([]*echoer, c.Connections)
	err := each(len(all), func(i int) error {
		conn, err := c.dial(ctx)
		if err != nil {
			return err
		}
		all[i] = newEchoer(conn, idleSize)
		if err := all[i].exchange(); err != nil {
			return err
		}
		return conn.SetDeadline(time.Time{})
	})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(idleReport{Open: len(all)}); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin) // until it is closed
	err = each(len(all), func(i int) error {
		all[i].conn.SetDeadline(time.Now().Add(ioTimeout))
		if err := all[i].exchange(); err != nil {
			return err
		}
		return all[i].conn.Close()
	})
	if err != nil {
		return fmt.Errorf("after the idle time: %w", err)
	}
	return out.Encode(idleReport{Alive: true})
}

// each calls f for 0 to n-1, some at a time, and returns the first error.
func each(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	var once sync.Once
	var first error
	for range openers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					once.Do(func() { first = fmt.Errorf("connection %d: %w", i, err) })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}
