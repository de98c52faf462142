//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// handshakeClient is the process of the part blocking that keeps a number of
// handshakes in progress at a time, each with a request, and watches the server
// meanwhile.
type handshakeClient struct {
	Addr     string `arg:""`
	PID      int    `name:"pid"`
	Serial   int64  // of the server's certificate
	Clients  int
	Warmup   time.Duration
	Duration time.Duration
	Core     int `default:"-1"` // the server's, if it has one to itself
}

func (h *handshakeClient) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	counts := new(handshakeCounts)
	var wg sync.WaitGroup
	for range h.Clients {
		wg.Go(func() { h.work(ctx, counts) })
	}
	err := h.watch(ctx, counts)
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	if counts.result.Handshakes == 0 {
		return errors.New("not one handshake was completed: " + counts.result.FirstError)
	}
	return json.NewEncoder(os.Stdout).Encode(&counts.result)
}

// watch measures from the end of the warm-up on.
func (h *handshakeClient) watch(ctx context.Context, counts *handshakeCounts) error {
	if err := bench.Sleep(ctx, h.Warmup); err != nil {
		return err
	}
	res := &counts.result
	before, err := takeUsage(h.PID, h.Core)
	if err != nil {
		return err
	}
	counts.start()
	if err := bench.Sleep(ctx, h.Duration); err != nil {
		return err
	}
	counts.stop()
	after, err := takeUsage(h.PID, h.Core)
	if err != nil {
		return err
	}
	res.Elapsed = after.when.Sub(before.when)
	res.ServerCPU = after.cpu - before.cpu
	if h.Core >= 0 {
		res.OtherCPU = max(after.core-before.core-res.ServerCPU, 0)
	}
	return nil
}

// handshakeResult is what the client found out about one server in one round.
type handshakeResult struct {
	Handshakes int64         `json:"handshakes"`
	Errors     int64         `json:"errors"`
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	ServerCPU  time.Duration `json:"server_cpu_ns"`
	OtherCPU   time.Duration `json:"other_cpu_ns"` // that others took of the server's core
}

func (r *handshakeResult) rate() float64 { return float64(r.Handshakes) / r.Elapsed.Seconds() }
func (r *handshakeResult) cpu() float64 {
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / float64(r.Handshakes)
}

// handshakeErrors says which handshakes failed. None is expected to.
func handshakeErrors(names []string, results map[string][]*handshakeResult) error {
	var errs []error
	for _, name := range names {
		for i, r := range results[name] {
			if r.Errors > 0 {
				errs = append(errs, fmt.Errorf("%s, round %d: %d handshakes failed, the first: %s", name, i+1, r.Errors, r.FirstError))
			}
		}
	}
	return errors.Join(errs...)
}

// work makes one handshake after another.
func (h *handshakeClient) work(ctx context.Context, counts *handshakeCounts) {
	buf := make([]byte, 4096)
	d := new(net.Dialer)
	for ctx.Err() == nil {
		err := h.handshake(ctx, d, buf)
		if ctx.Err() == nil {
			counts.add(err)
		}
	}
}

func (h *handshakeClient) handshake(ctx context.Context, d *net.Dialer, buf []byte) error {
	c, err := dial(ctx, d, h.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t := tls.Client(c, clientConfig)
	if err := t.Handshake(); err != nil {
		return err
	}
	if err := checkHandshake(t, big.NewInt(h.Serial)); err != nil {
		return err
	}
	return exchange(t, buf)
}

// handshakeCounts gathers what the workers report between start and stop.
type handshakeCounts struct {
	mu     sync.Mutex
	on     bool
	result handshakeResult
}

func (c *handshakeCounts) start() { c.turn(true) }
func (c *handshakeCounts) stop()  { c.turn(false) }

func (c *handshakeCounts) turn(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

func (c *handshakeCounts) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil: // those of the warm-up are no less wrong
		c.result.Errors++
		if c.result.FirstError == "" {
			c.result.FirstError = err.Error()
		}
	case c.on:
		c.result.Handshakes++
	}
}
