//go:build linux

package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Echo is the process that sends messages to an echo server and compares what
// comes back. Each connection has one message in flight.
type Echo struct {
	Target
	Connections int
	Size        int // of a message, in bytes; at least 8
	Warmup      time.Duration
	Duration    time.Duration
}

// EchoResult is what it prints.
type EchoResult struct {
	Begin    time.Time     `json:"begin"` // of the measured part
	End      time.Time     `json:"end"`
	Messages int64         `json:"messages"`
	CPU      time.Duration `json:"client_cpu_ns"`
}

// Run exchanges messages and prints an EchoResult. The first echo that is wrong,
// or does not come, ends it with an error.
func (e *Echo) Run(ctx context.Context) error {
	r, err := e.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (e *Echo) measure(ctx context.Context) (*EchoResult, error) {
	var all []*echoer
	for i := range e.Connections {
		c, err := e.Dial(ctx, new(net.Dialer))
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(e.Warmup + e.Duration + IOTimeout))
		all = append(all, newEchoer(c, e.Size))
	}
	g, ctx := errgroup.WithContext(ctx)
	var done atomic.Bool
	var count atomic.Int64
	for i, echoer := range all {
		g.Go(func() error {
			for !done.Load() {
				if err := echoer.exchange(); err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
				count.Add(1)
			}
			return nil
		})
	}
	r, err := e.count(ctx, &count)
	done.Store(true)
	if err != nil { // also that of a connection, which has ended ctx
		return nil, err
	}
	return r, g.Wait()
}

// count counts from the end of the warm-up on.
func (e *Echo) count(ctx context.Context, count *atomic.Int64) (*EchoResult, error) {
	if err := process.Sleep(ctx, e.Warmup); err != nil {
		return nil, err
	}
	cpu, err := process.CPUTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	r := &EchoResult{Begin: time.Now(), Messages: -count.Load()}
	if err := process.Sleep(ctx, e.Duration); err != nil {
		return nil, err
	}
	r.Messages += count.Load()
	r.End = time.Now()
	r.CPU, err = process.CPUTime(os.Getpid())
	r.CPU -= cpu
	return r, err
}

// echoer exchanges messages over a connection. Each begins with its number, and
// no two connections send the same bytes.
type echoer struct {
	conn       net.Conn
	sent, echo []byte
	number     uint64
}

func newEchoer(c net.Conn, size int) *echoer {
	e := &echoer{conn: c, sent: make([]byte, size), echo: make([]byte, size)}
	rand.Read(e.sent)
	return e
}

// exchange sends a message and compares what comes back with it.
func (e *echoer) exchange() error {
	e.number++
	binary.BigEndian.PutUint64(e.sent, e.number)
	if _, err := e.conn.Write(e.sent); err != nil {
		return fmt.Errorf("message %d: %w", e.number, err)
	}
	n, err := io.ReadFull(e.conn, e.echo)
	if err != nil {
		return fmt.Errorf("echo %d, after %d bytes: %w", e.number, n, err)
	}
	if !bytes.Equal(e.sent, e.echo) {
		i := 0
		for e.sent[i] == e.echo[i] {
			i++
		}
		return fmt.Errorf("echo %d differs from what was sent, from byte %d of %d on", e.number, i, n)
	}
	return nil
}
