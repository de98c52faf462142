//go:build linux

package client

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/load"
)

// Watched is what a server used from the beginning to the end of the measured
// part of a load.
type Watched struct {
	Elapsed    time.Duration `json:"elapsed_ns"`
	ServerCPU  time.Duration `json:"server_cpu_ns"`
	ServerUser time.Duration `json:"server_user_ns"`
	ServerSys  time.Duration `json:"server_system_ns"`
	Switches   int64         `json:"server_context_switches"`
	OtherCPU   time.Duration `json:"other_cpu_ns"`     // that others used on the server's core
	RSS        [3]int64      `json:"server_rss_bytes"` // at the start, in the middle, at the end
}

// Busy is how much of a core the server used, in percent.
func (w *Watched) Busy() float64 { return 100 * w.ServerCPU.Seconds() / w.Elapsed.Seconds() }

// OtherBusy is how much of the server's core others used, in percent.
func (w *Watched) OtherBusy() float64 { return 100 * w.OtherCPU.Seconds() / w.Elapsed.Seconds() }

// Server is a process to watch, on its core (negative: it has none to itself).
type Server struct{ PID, CPU int }

// Watch watches a server while f loads it. f says when the measured part of its
// load began and ended. The sampling runs on another core, and so
// takes no time from the server.
func Watch(ctx context.Context, s Server, core int, f func() (begin, end time.Time, err error)) (*Watched, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w := &process.Watcher{PID: s.PID, Core: s.CPU}
	if err := w.Sample(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- process.OnCPU(core, func() error { return w.Run(watching) })
	}()
	begin, end, err := f()
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	return between(w, begin, end)
}

func between(w *process.Watcher, begin, end time.Time) (*Watched, error) {
	before, berr := w.At(begin)
	middle, merr := w.At(begin.Add(end.Sub(begin) / 2))
	after, aerr := w.At(end)
	if err := cmp.Or(berr, merr, aerr); err != nil {
		return nil, err
	}
	r := &Watched{
		Elapsed:    end.Sub(begin),
		ServerCPU:  after.CPU - before.CPU,
		ServerUser: after.User - before.User,
		ServerSys:  after.System - before.System,
		Switches:   after.Switches - before.Switches,
		RSS:        [3]int64{before.RSS, middle.RSS, after.RSS},
	}
	if w.Core >= 0 {
		r.OtherCPU = max(after.Core-before.Core-r.ServerCPU, 0)
	}
	return r, nil
}

// Loaded is a load by "tlsdemo load", and what the server used.
type Loaded struct {
	Load *load.Result `json:"load"`
	Watched
}

// RunWatched runs a load and watches the server meanwhile.
func (l Load) RunWatched(ctx context.Context, s Server, args ...string) (*Loaded, error) {
	var res *load.Result
	w, err := Watch(ctx, s, l.CPU, func() (begin, end time.Time, err error) {
		if res, err = l.Run(ctx, args...); err == nil {
			begin, end = MeasuredPart(res)
		}
		return begin, end, err
	})
	if err != nil {
		return nil, err
	}
	return &Loaded{res, *w}, nil
}

// MeasuredPart returns when a load's warm-up and ramp were over, and when it
// ended. Its first interval begins with the run, before the probes.
func MeasuredPart(res *load.Result) (begin, end time.Time) {
	begin = res.Started
	if len(res.Series) > 0 && res.Series[0].At < 0 {
		begin = begin.Add(-seconds(res.Series[0].At))
	}
	return begin, begin.Add(seconds(res.Duration))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Rate is in handshakes a second.
func (l *Loaded) Rate() float64 { return l.Load.HandshakesPer }

// CPU is the server's CPU time for a handshake, in microseconds.
func (l *Loaded) CPU() float64 {
	// Some of an open loop's handshakes end after the measured part.
	return float64(l.ServerCPU.Nanoseconds()) / 1e3 / (l.Load.HandshakesPer * l.Elapsed.Seconds())
}

// ClientBusy is how much of its core the client used, in percent.
func (l *Loaded) ClientBusy() float64 { return 100 * l.Load.Client.Busy }

// ClientFull says whether the client may have been the limit.
func (l *Loaded) ClientFull() bool { return l.Load.Client.Busy >= load.BusyLimit }

// P50, P99 and Max are latencies in milliseconds. They are NaN if no handshake
// succeeded.
func (l *Loaded) P50() float64 { return l.latency(l.Load.Latency.P50) }
func (l *Loaded) P99() float64 { return l.latency(l.Load.Latency.P99) }
func (l *Loaded) Max() float64 { return l.latency(l.Load.Latency.Max) }

func (l *Loaded) latency(us int64) float64 {
	if l.Load.Latency.Count == 0 {
		return math.NaN()
	}
	return float64(us) / 1e3
}

// Trim drops a load's detailed measurements, which are large and are in no report.
func (l *Loaded) Trim() { l.Load.Series, l.Load.Distribution = nil, nil }
