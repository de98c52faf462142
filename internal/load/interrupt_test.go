package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests runs that are cut short. The servers from serve check that nothing is
// left over.

func TestInterrupted(t *testing.T) {
	for name, cfg := range map[string]Config{
		"closed": {Connections: 8, Duration: time.Hour},
		"count":  {Connections: 8, Count: 1 << 40},
		"open":   {Connections: 8, Rate: 1000, Duration: time.Hour},
		"loops":  {Connections: 8, Duration: time.Hour, Loops: 3},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// Some requests are answered. Then all connections are held, and the run ends.
			var turn atomic.Int64
			s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
				n := turn.Add(1)
				if n == 21+8 {
					cancel()
				}
				if n > 21 {
					io.Copy(io.Discard, c)
					return
				}
				s.answer(c)
			})
			cfg := cfg
			base := closedConfig(s)
			cfg.Targets, cfg.TLS, cfg.Timeout, cfg.Request, cfg.Reset = base.Targets, base.TLS, time.Hour, "/", true
			cfg.Loops = max(cfg.Loops, 1)
			res := mustRun(t, ctx, cfg)
			want(t, "stopped", res.Stopped, Interrupted)
			want(t, "canceled", res.Total.Canceled, 8)
			want(t, "handshakes", res.Handshakes, 20)
			want(t, "requests", res.Total.Requests, 21)
			if res.Duration <= 0 || res.Duration > testkit.Patience.Seconds() || res.HandshakesPer <= 0 {
				t.Errorf("%v handshakes/s in %v s", res.HandshakesPer, res.Duration)
			}
		})
	}
}

func TestInterruptedInTheRamp(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			s.answer(c)
			if s.requests.Load() >= 3 {
				cancel()
			}
		})
		cfg := closedConfig(s)
		// The ramp to a million a second takes an hour. The first handshakes come soon.
		cfg.Rate, cfg.Ramp, cfg.Duration, cfg.Count, cfg.Connections = rate*rate, time.Hour, time.Hour, 0, 10
		res := mustRun(t, ctx, cfg)
		want(t, "stopped", res.Stopped, Interrupted)
		want(t, "handshakes", res.Handshakes, 0)
		want(t, "duration", res.Duration, 0)
		want(t, "handshakes/s", res.HandshakesPer, 0)
		if rate == 0 {
			want(t, "most in flight", res.MaxInFlight, 1) // the second is due in six minutes
		}
		if res.Total.Requests < 3 {
			t.Errorf("%d requests in all, want 3 at least", res.Total.Requests)
		}
	}
}

func TestInterruptedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ *server, c net.Conn) {
		cancel()
		io.Copy(io.Discard, c)
	})
	for range 2 { // during the probe, and before Run
		res, err := Run(ctx, closedConfig(s))
		if res != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("result %v, error %v, want context.Canceled", res, err)
		}
	}
}

func TestInterruptedSweep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() >= 5 {
			cancel()
		}
		s.answer(c)
	})
	cfg := openConfig(100, time.Second, s)
	cfg.Sweep = &SweepConfig{P99: time.Second}
	res := mustRun(t, ctx, cfg)
	want(t, "stopped", res.Stopped, Interrupted)
	if res.Sweep == nil || res.Sweep.Steps == nil || len(res.Sweep.Steps) != 0 || res.Sweep.Knee != 0 {
		t.Errorf("sweep %+v, want one without steps", res.Sweep)
	}
	wantNoNull(t, res)
}

// If a sweep is cut short in its second step, the result has the figures of the first.
func TestInterruptedSecondStep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() >= 1+60+5 { // the probe, the first step and its warm-up
			cancel()
		}
		s.answer(c)
	})
	cfg := openConfig(100, 100*time.Millisecond, s)
	cfg.Sweep = &SweepConfig{P99: time.Minute}
	res := mustRun(t, ctx, cfg)
	if len(res.Sweep.Steps) != 1 {
		t.Fatalf("steps %+v, want one", res.Sweep.Steps)
	}
	first := res.Sweep.Steps[0]
	if !first.KeptUp { // this machine is too busy, so the sweep has ended
		t.Skip("the first step was not kept up")
	}
	want(t, "stopped", res.Stopped, Interrupted)
	want(t, "knee", res.Sweep.Knee, 100)
	want(t, "handshakes", res.Handshakes, 10)
	want(t, "latency", res.Latency, first.Latency)
}

func TestProgress(t *testing.T) {
	shown := newGate()
	s := held(t, shown, (*server).answer)
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration, cfg.Warmup = 0, 50*time.Millisecond, 10*time.Millisecond
	var seen []Progress
	cfg.Progress = func(p Progress) { // never two at a time, or the race detector complains
		seen = append(seen, p)
		if p.InFlight == cfg.Connections && p.Phase == "ending" {
			shown.let()
		}
	}
	mustRun(t, t.Context(), cfg)
	last := seen[len(seen)-1]
	want(t, "phase", last.Phase, "ending")
	want(t, "whole", last.Whole, 60*time.Millisecond)
	want(t, "errors", last.Errors, 0)
	if last.Elapsed < last.Whole {
		t.Errorf("%v have passed at the end of %v", last.Elapsed, last.Whole)
	}
}
