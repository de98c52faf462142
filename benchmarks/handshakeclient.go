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

	"github.com/HdrHistogram/hdrhistogram-go"
)

// handshakeClient is the process that keeps a number of handshakes in progress
// at a time, and watches the server's meanwhile.
type handshakeClient struct {
	Addr     string `arg:""`
	PID      int    `name:"pid"`
	Serial   int64  // of the server's certificate
	Clients  int
	Warmup   time.Duration
	Duration time.Duration
	Core     int  `default:"-1"` // the server's, if it has one to itself
	Request  bool `default:"true"`
}

func (h *handshakeClient) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	counts := newHandshakeCounts()
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
	if err := pause(ctx, h.Warmup); err != nil {
		return err
	}
	res := &counts.result
	before, err := takeUsage(h.PID, h.Core)
	if err != nil {
		return err
	}
	counts.start()
	begin := time.Now()
	if err := pause(ctx, h.Duration/2); err != nil {
		return err
	}
	if res.RSS[1], err = rss(h.PID); err != nil {
		return err
	}
	if err := pause(ctx, time.Until(begin.Add(h.Duration))); err != nil {
		return err
	}
	counts.stop()
	after, err := takeUsage(h.PID, h.Core)
	if err != nil {
		return err
	}
	res.Elapsed = after.when.Sub(before.when)
	res.ServerCPU = after.cpu - before.cpu
	res.ServerUser = after.user - before.user
	res.ServerSys = after.system - before.system
	res.Switches = after.switches - before.switches
	res.ClientCPU = after.own - before.own
	if h.Core >= 0 {
		res.OtherCPU = max(after.core-before.core-res.ServerCPU, 0)
	}
	res.RSS[0], res.RSS[2] = before.rss, after.rss
	return nil
}

// handshakeResult is what the client found out about one server in one round.
type handshakeResult struct {
	Handshakes int64         `json:"handshakes"`
	Errors     int64         `json:"errors"`
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	Max        time.Duration `json:"max_ns"`
	ServerCPU  time.Duration `json:"server_cpu_ns"`
	ServerUser time.Duration `json:"server_user_ns"`
	ServerSys  time.Duration `json:"server_system_ns"`
	Switches   int64         `json:"server_context_switches"`
	ClientCPU  time.Duration `json:"client_cpu_ns"`
	OtherCPU   time.Duration `json:"other_cpu_ns"`     // that others took of the server's core
	RSS        [3]int64      `json:"server_rss_bytes"` // at the start, in the middle, at the end
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
		begin := time.Now()
		err := h.handshake(ctx, d, buf)
		if ctx.Err() == nil {
			counts.add(time.Since(begin), err)
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
	if h.Request {
		return exchange(t, buf)
	}
	return nil
}

// handshakeCounts gathers what the workers report between start and stop.
type handshakeCounts struct {
	mu     sync.Mutex
	on     bool
	hist   *hdrhistogram.Histogram
	result handshakeResult
}

func newHandshakeCounts() *handshakeCounts {
	// In microseconds, up to a little more than any operation may take.
	return &handshakeCounts{hist: hdrhistogram.New(1, 2*ioTimeout.Microseconds(), 3)}
}

func (c *handshakeCounts) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = true
}

func (c *handshakeCounts) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	c.result.P50 = time.Duration(c.hist.ValueAtPercentile(50)) * time.Microsecond
	c.result.P99 = time.Duration(c.hist.ValueAtPercentile(99)) * time.Microsecond
	c.result.Max = time.Duration(c.hist.Max()) * time.Microsecond
}

func (c *handshakeCounts) add(d time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil { // those of the warm-up are no less wrong
		c.result.Errors++
		if c.result.FirstError == "" {
			c.result.FirstError = err.Error()
		}
		return
	}
	if !c.on {
		return
	}
	c.result.Handshakes++
	if rerr := c.hist.RecordValue(max(d.Microseconds(), 1)); rerr != nil {
		c.result.Errors++
		c.result.FirstError = rerr.Error()
	}
}
