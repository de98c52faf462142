package load

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests connections that are held open.

// Clients hold their connections, which is no part of the latency, and then go on.
func TestHold(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for _, rate := range []float64{0, 1000} {
			s := serveTLS(t, nil, nil)
			cfg := closedConfig(s)
			cfg.Rate, cfg.Reset, cfg.Loops, cfg.Connections = rate, reset, 2, 40
			cfg.Count, cfg.Hold = 80, everyone(100*time.Millisecond, 200*time.Millisecond)
			res := mustRun(t, t.Context(), cfg)
			want(t, "handshakes", res.Handshakes, cfg.Count)
			want(t, "held", res.Held, cfg.Count)
			want(t, "ended by the server", res.HeldEndedByServer, 0)
			wantSame(t, res, s)
			testkit.Eventually(t, "the server sees all of them end", func() bool { return s.ends.Load()+s.resets.Load() >= cfg.Count })
			if reset && s.resets.Load() < cfg.Count {
				t.Errorf("%d connections were reset, want %d", s.resets.Load(), cfg.Count)
			}
			if !reset {
				want(t, "connections that were reset", s.resets.Load(), 0)
			}
		}
	}
}

// A connection that is held takes the place of another. At the end of the run, holds end.
func TestHoldEndsWithTheRun(t *testing.T) {
	for _, rate := range []float64{0, 500} {
		for _, count := range []int64{0, 4} {
			s := serveTLS(t, nil, nil)
			cfg := closedConfig(s)
			cfg.Rate, cfg.Count, cfg.Hold = rate, count, everyone(time.Hour, time.Hour)
			if count == 0 {
				cfg.Duration = 300 * time.Millisecond
			}
			res := mustRun(t, t.Context(), cfg)
			want(t, "handshakes", res.Handshakes, int64(cfg.Connections))
			want(t, "held", res.Held, int64(cfg.Connections))
			want(t, "ended by the server", res.HeldEndedByServer, 0)
			want(t, "in flight", res.MaxInFlight, cfg.Connections)
			wantSame(t, res, s)
		}
	}
}

// An interrupt closes held connections. They are not cut off: they have succeeded.
func TestHoldInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() == 5 {
			cancel()
		}
		s.answer(c)
	})
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration, cfg.Hold = 0, time.Hour, everyone(time.Hour, time.Hour)
	res := mustRun(t, ctx, cfg)
	want(t, "stopped", res.Stopped, Interrupted)
	if res.Total.Requests+res.Total.Canceled != 5 {
		t.Errorf("%+v", res.Total)
	}
}

// What the server sends is read and dropped, and its end is noticed.
func TestHoldServerSends(t *testing.T) {
	const body = 1 << 20
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() == 1 {
			s.answer(c)
			return
		}
		readRequest(c)
		s.requests.Add(1)
		io.WriteString(c, okAnswer)
		if _, err := io.WriteString(c, strings.Repeat("x", body)); err == nil {
			s.ends.Add(1)
		}
	})
	for _, reset := range []bool{false, true} {
		cfg := closedConfig(s)
		cfg.Reset, cfg.Hold = reset, everyone(testkit.Patience, testkit.Patience)
		res := mustRun(t, t.Context(), cfg)
		want(t, "handshakes", res.Handshakes, cfg.Count)
		want(t, "held", res.Held, cfg.Count)
		// The last ones are let go, as nothing else is left of the run.
		least := cfg.Count - int64(cfg.Connections)
		if res.HeldEndedByServer < least || s.ends.Load() < least {
			t.Errorf("the server sent everything to %d clients and ended %d, want %d at least", s.ends.Load(), res.HeldEndedByServer, least)
		}
		if res.HeldEndedAfter == nil || res.HeldEndedAfter.Count != res.HeldEndedByServer || res.HeldEndedAfter.Max >= testkit.Patience.Microseconds() {
			t.Errorf("ended after %+v", res.HeldEndedAfter)
		}
		s.handshakes.Store(0)
		s.ends.Store(0)
	}
}

// An answer that ends with the connection leaves nothing to hold.
func TestHoldAfterTheEnd(t *testing.T) {
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		readRequest(c)
		s.requests.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
	})
	cfg := closedConfig(s)
	cfg.Hold = everyone(time.Hour, time.Hour)
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "ended by the server", res.HeldEndedByServer, cfg.Count)
}

// Some clients hold, others do not.
func TestHoldOfSome(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Count, cfg.Hold = 200, Times{0.5, time.Millisecond, 2 * time.Millisecond}
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	if res.Held < 60 || res.Held > 140 {
		t.Errorf("%d of 200 were held, want half", res.Held)
	}
	wantSame(t, res, s)
}
