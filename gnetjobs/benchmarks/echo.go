//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file has the parts throughput and messages, which are the same but for
// the size of what is echoed.

// exchanges is how a part uses its connections: each has one message in flight.
type exchanges struct {
	connections int
	size        int // of a message; at least 8
	buffer      int // of the goroutine server's connections
}

var (
	// A message is more than a read of any server, and less than what the
	// sockets' buffers take while the client sends it. The goroutine server
	// reads and sends whole records.
	throughput = exchanges{connections: 16, size: 64 << 10, buffer: 16 << 10}

	messages = exchanges{connections: 64, size: 512, buffer: smallBuffer}
)

// smallBuffer is what a goroutine server has for each connection that exchanges
// small messages.
const smallBuffer = 4096

// echoRound is what was measured of one server in one round.
type echoRound struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"` // that came back
	usage
	Connections int64 `json:"connections"`
}

var (
	serverBusy = column[*echoRound]{"server busy, %", func(r *echoRound) float64 { return r.percentOf(r.Server) }}
	clientBusy = column[*echoRound]{"client busy, %", func(r *echoRound) float64 { return r.percentOf(r.Client) }}
)

var throughputColumns = []column[*echoRound]{
	{"MB/s", func(r *echoRound) float64 { return float64(r.Bytes) / 1e6 / r.Elapsed.Seconds() }},
	{"server CPU, µs/MB", func(r *echoRound) float64 { return r.Server.Seconds() * 1e6 / (float64(r.Bytes) / 1e6) }},
	serverBusy, clientBusy,
}

var messagesColumns = []column[*echoRound]{
	{"messages/s", func(r *echoRound) float64 { return float64(r.Messages) / r.Elapsed.Seconds() }},
	{"server CPU, µs each", func(r *echoRound) float64 { return r.Server.Seconds() * 1e6 / float64(r.Messages) }},
	serverBusy, clientBusy,
}

func (m *measure) throughput(ctx context.Context, dir string) (*result, error) {
	return m.echo(ctx, dir, throughput, throughputColumns, "1 MB is a million bytes that the client has sent and received.")
}

func (m *measure) messages(ctx context.Context, dir string) (*result, error) {
	return m.echo(ctx, dir, messages, messagesColumns)
}

func (m *measure) echo(ctx context.Context, dir string, x exchanges, columns []column[*echoRound], notes ...string) (*result, error) {
	cert, err := newCertificate(dir, keyECDSA)
	if err != nil {
		return nil, err
	}
	var all []*series[*echoRound]
	for _, name := range m.servers(nameGnetjobs, nameJob, nameGoroutines, nameGnet) {
		all = append(all, &series[*echoRound]{Server: name})
	}
	if len(all) == 0 {
		return nil, errNoServer
	}
	err = measureRounds(ctx, m.Rounds, all, func(s *series[*echoRound]) (*echoRound, error) {
		return m.echoRound(ctx, s.Server, cert, x)
	})
	notes = append([]string{
		fmt.Sprintf("%d connections, each with one message of %d bytes in flight; every echo was compared with its message. TLS 1.3, AES-128-GCM; gnet is without TLS. The goroutine server has a buffer of %d bytes for each connection.", x.connections, x.size, x.buffer),
		fmt.Sprintf("%d rounds of %v for each server in turn, after %v of the same: median (least–greatest).", m.Rounds, m.Duration, m.warmup()),
	}, notes...)
	return &result{Results: all, Notes: append(notes, m.others(usages(all))...), table: tableOf(all, columns)}, err
}

// echoRound measures one server once.
func (m *measure) echoRound(ctx context.Context, name string, cert *certificate, x exchanges) (*echoRound, error) {
	r := new(echoRound)
	return r, m.with(ctx, name, cert, x.buffer, func(s *server) (int64, error) {
		args := append([]string{"echo-client"}, s.target(cert).args()...)
		args = append(args, m.watched(s).args()...)
		err := runClient(ctx, m.ClientCPU, r, append(args,
			"--connections", strconv.Itoa(x.connections), "--size", strconv.Itoa(x.size),
			"--warmup", m.warmup().String(), "--duration", m.Duration.String())...)
		if err == nil && r.Messages == 0 {
			err = errors.New("not one message came back")
		}
		if !hasTLS(name) {
			return 0, err
		}
		return r.Connections, err
	})
}

// echoClient is the process that sends messages and compares their echoes.
type echoClient struct {
	target
	watched
	Connections int
	Size        int
	Warmup      time.Duration
	Duration    time.Duration
}

func (e *echoClient) Run(ctx context.Context) error {
	r, err := e.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (e *echoClient) measure(ctx context.Context) (*echoRound, error) {
	var all []*echoer
	for i := range e.Connections {
		c, err := e.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(e.Warmup + e.Duration + ioTimeout))
		all = append(all, newEchoer(c, e.Size))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Bool
	var count atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, echoer := range all {
		wg.Go(func() {
			for !done.Load() {
				if err := echoer.exchange(); err != nil {
					errs[i] = fmt.Errorf("connection %d: %w", i, err)
					cancel(errs[i])
					return
				}
				count.Add(1)
			}
		})
	}
	r, err := e.watch(ctx, &count)
	done.Store(true)
	if err != nil {
		return nil, err
	}
	wg.Wait()
	return r, errors.Join(errs...)
}

// watch measures from the end of the warm-up on.
func (e *echoClient) watch(ctx context.Context, count *atomic.Int64) (*echoRound, error) {
	if err := bench.Sleep(ctx, e.Warmup); err != nil {
		return nil, err
	}
	before, err := e.take()
	if err != nil {
		return nil, err
	}
	n := count.Load()
	if err := bench.Sleep(ctx, e.Duration); err != nil {
		return nil, err
	}
	n = count.Load() - n
	after, err := e.take()
	if err != nil {
		return nil, err
	}
	return &echoRound{Messages: n, Bytes: n * int64(e.Size), usage: after.sub(before), Connections: int64(e.Connections)}, nil
}
