package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests clients that give up.

// silentAfterProbe is a server that answers the probe and then stays silent. It counts
// how its clients end.
func silentAfterProbe(t *testing.T) *server {
	return failing(t, nil, func(s *server, raw net.Conn) { s.countEnd(raw) })
}

// countEnd reads to the end of a connection and counts the kind of end.
func (s *server) countEnd(raw net.Conn) {
	if _, err := io.Copy(io.Discard, raw); err == nil {
		s.ends.Add(1)
	} else {
		s.resets.Add(1)
	}
}

// wantGaveUp checks that n clients gave up and all others were served. No client may
// leave too early or wait until the timeout.
func wantGaveUp(t *testing.T, cfg *Config, res *Result, n int64) {
	t.Helper()
	wantErrors(t, res, kindGaveUp, n)
	want(t, "handshakes", res.Handshakes, cfg.Count-n)
	if res.GaveUpAfter == nil {
		t.Fatal("nothing about those that gave up")
	}
	wantAtLeast(t, "the least time before giving up", res.GaveUpAfter.Min, cfg.Patience.Min)
	if most := time.Duration(res.GaveUpAfter.Max) * time.Microsecond; most >= cfg.Timeout {
		t.Errorf("one waited %v, as long as the timeout", most)
	}
}

// impatient is a run of 20 clients, all at once. It is a closed loop, so that all of them
// begin even on a busy machine.
func impatient(s *server, p Times) Config {
	cfg := closedConfig(s)
	cfg.Connections, cfg.Patience = int(cfg.Count), p
	return cfg
}

// Clients that give up close their connections as a browser does, with or without Reset.
// The server sees it while the run goes on.
func TestAllGiveUp(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for _, loops := range []int{1, 2} {
			s := silentAfterProbe(t)
			cfg := impatient(s, everyone(30*time.Millisecond, 90*time.Millisecond))
			cfg.Reset, cfg.Loops = reset, loops
			res := mustRun(t, t.Context(), cfg)
			wantGaveUp(t, &cfg, res, cfg.Count)
			want(t, "errors of the target", res.Targets[0].Errors, cfg.Count)
			want(t, "all that gave up", res.Total.GaveUp, cfg.Count)
			if example := res.ErrorExamples[kindGaveUp]; !strings.Contains(example, ": the client gave up after ") { // on a busy machine, in the dial
				t.Errorf("example %q", example)
			}
			testkit.Eventually(t, "the server sees all of them end", func() bool { return s.ends.Load()+s.resets.Load() > cfg.Count }) // and the probe
			want(t, "connections that were reset", s.resets.Load(), 0)
		}
	}
}

// The connections of clients that gave up are closed while the run goes on.
func TestGivingUpCloses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	var seen atomic.Int64
	s := failing(t, nil, func(s *server, raw net.Conn) {
		s.countEnd(raw)
		if seen.Add(1) == 3 {
			cancel()
		}
	})
	cfg := impatient(s, everyone(10*time.Millisecond, 20*time.Millisecond))
	cfg.Count, cfg.Duration = 0, time.Hour
	res := mustRun(t, ctx, cfg)
	want(t, "stopped", res.Stopped, Interrupted)
	if ctx.Err() != context.Canceled {
		t.Errorf("the server saw %d connections end, want 3", seen.Load())
	}
}

// A client's patience includes the request.
func TestGivingUpInTheRequest(t *testing.T) {
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() == 1 {
			s.answer(c)
			return
		}
		s.countEnd(c.NetConn())
	})
	cfg := impatient(s, everyone(50*time.Millisecond, 50*time.Millisecond))
	cfg.Connections, cfg.Count = 1, 3
	res := mustRun(t, t.Context(), cfg)
	wantGaveUp(t, &cfg, res, cfg.Count)
}

// Served clients are counted as usual, and no client is counted twice.
func TestSomeGiveUp(t *testing.T) {
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if n := s.handshakes.Load(); n > 1 && n <= 4 { // the three after the probe
			s.countEnd(c.NetConn())
			return
		}
		s.answer(c)
	})
	cfg := impatient(s, everyone(200*time.Millisecond, 300*time.Millisecond))
	cfg.Connections, cfg.Count = 1, 8
	res := mustRun(t, t.Context(), cfg)
	gaveUp := res.ErrorsByKind[kindGaveUp] // more if this machine was busy
	if gaveUp < 3 {
		t.Errorf("%d gave up, want 3", gaveUp)
	}
	wantGaveUp(t, &cfg, res, gaveUp)
}

// A client that gives up does not spoil the session that others resume.
func TestGivingUpKeepsTheSession(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	s := serve(t, func(s *server, raw net.Conn) {
		if n := s.accepted.Load(); n == 2 || n == 3 { // after the probe
			s.countEnd(raw)
			return
		}
		if c := tls.Server(raw, config); c.Handshake() == nil {
			s.note(c.ConnectionState())
			s.answer(c)
		}
	})
	cfg := impatient(s, everyone(300*time.Millisecond, 300*time.Millisecond))
	cfg.Connections, cfg.Count, cfg.Resume = 1, 10, 1
	res := mustRun(t, t.Context(), cfg)
	want(t, "resumed", res.Total.Resumed, res.Total.Handshakes-1) // the probe got it
}

// Patience longer than the timeout has no effect.
func TestPatienceBeyondTheTimeout(t *testing.T) {
	s := silentAfterProbe(t)
	cfg := impatient(s, everyone(time.Hour, 2*time.Hour))
	cfg.Timeout = 200 * time.Millisecond
	res := mustRun(t, t.Context(), cfg)
	wantErrors(t, res, kindTimeout, cfg.Count)
	want(t, "all that gave up", res.Total.GaveUp, 0)
	if res.GaveUpAfter != nil {
		t.Errorf("gave up after %+v", res.GaveUpAfter)
	}
}

// In an open loop, clients that waited for a connection longer than their patience do not
// take the place of those that have just come.
func TestNotBegunInTime(t *testing.T) {
	s := silentAfterProbe(t)
	cfg := openConfig(1000, 0, s)
	cfg.Count, cfg.Connections, cfg.Patience = 1000, 1, everyone(200*time.Millisecond, 200*time.Millisecond)
	res := mustRun(t, t.Context(), cfg)
	gaveUp := res.ErrorsByKind[kindGaveUp]
	if gaveUp == 0 || gaveUp > 10 { // one after another, in about a second
		t.Errorf("%d gave up", gaveUp)
	}
	want(t, "not begun", res.NotBegun, cfg.Count-gaveUp)
	want(t, "errors", res.Errors, cfg.Count)
	want(t, "errors of this kind", res.ErrorsByKind[kindNotBegun], res.NotBegun)
}

// Without Patience, clients wait until the timeout.
func TestNoPatience(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "all that gave up", res.Total.GaveUp, 0)
	w := &worker{run: &run{cfg: &cfg}, random: newRandom(1, 0)}
	want(t, "patience", w.drawPatience(), 0)
}

// The probe does not give up.
func TestProbeIsPatient(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := impatient(s, everyone(1, 1)) // a nanosecond: no client is served
	res := mustRun(t, t.Context(), cfg)
	wantGaveUp(t, &cfg, res, cfg.Count)
	want(t, "all handshakes", res.Total.Handshakes, 1)
}
