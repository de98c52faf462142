package load

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests closed loops.

func TestCount(t *testing.T) {
	for _, test := range []struct {
		loops, connections int
		count              int64
		version            uint16
	}{
		{1, 1, 1, tls.VersionTLS13},
		{1, 4, 50, tls.VersionTLS13},
		{2, 5, 33, tls.VersionTLS12},
		{3, 3, 3, tls.VersionTLS13},
		{1, 16, 5, tls.VersionTLS12}, // fewer than connections
	} {
		t.Run(fmt.Sprintf("%d by %d in %d", test.count, test.connections, test.loops), func(t *testing.T) {
			s := serveTLS(t, nil, nil)
			cfg := closedConfig(s)
			cfg.Loops, cfg.Connections, cfg.Count, cfg.TLS.Version = test.loops, test.connections, test.count, test.version
			res := mustRun(t, t.Context(), cfg)
			want(t, "handshakes", res.Handshakes, test.count)
			want(t, "errors", res.Errors, 0)
			want(t, "begun", res.Total.Begun, test.count+1)
			want(t, "requests", res.Total.Requests, test.count+1)
			wantSame(t, res, s)
			if most := s.most.Load(); most > int64(test.connections) {
				t.Errorf("the server has seen %d connections at a time, %d were allowed", most, test.connections)
			}
			if res.Duration <= 0 || res.HandshakesPer <= 0 || res.StartDelay != nil || res.Stopped != "" {
				t.Errorf("duration %v, %v/s, start delay %v, stopped %q", res.Duration, res.HandshakesPer, res.StartDelay, res.Stopped)
			}
		})
	}
}

func TestCountWithoutRequests(t *testing.T) {
	// In TLS 1.2, a handshake ends with the server's last message. The server has
	// counted every handshake that the client counts, or is about to.
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Request, cfg.TLS.Version = "", tls.VersionTLS12
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "first bytes", res.Phases.FirstByte, nil)
	wantSame(t, res, s)
}

func TestCountIncludesFailures(t *testing.T) {
	var turn atomic.Int64
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if turn.Add(1)%2 == 0 { // not the probe
			testkit.Reset(c.NetConn())
			return
		}
		s.answer(c)
	})
	cfg := closedConfig(s)
	cfg.Connections, cfg.Count, cfg.Loops = 4, 10, 2
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes and errors", res.Handshakes+res.Errors, cfg.Count)
	if res.Errors == 0 || res.Handshakes == 0 {
		t.Errorf("%d handshakes, %d errors, some of each are due", res.Handshakes, res.Errors)
	}
	wantErrors(t, res, kindReset, res.Errors)
}

func TestAllConnectionsAtATime(t *testing.T) {
	const connections = 12
	for _, loops := range []int{1, 3} {
		all := newGate()
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			n := s.handshakes.Load()
			if n >= connections+1 { // the probe is one more
				all.let()
			}
			if n > 1 {
				all.wait()
			}
			s.answer(c)
		})
		cfg := closedConfig(s)
		cfg.Loops, cfg.Connections, cfg.Count = loops, connections, 4*connections
		res := mustRun(t, t.Context(), cfg)
		want(t, "most in flight", res.MaxInFlight, connections)
		want(t, "most in flight, as the server counts", s.most.Load(), connections)
		want(t, "handshakes", res.Handshakes, cfg.Count)
	}
}

func TestDealtEvenly(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address on Linux only")
	}
	for _, loops := range []int{1, 2} {
		servers := []*server{serveTLS(t, nil, nil), serveTLS(t, nil, nil)}
		sources := []string{"127.0.0.2", "127.0.0.3"}
		cfg := closedConfig(servers...)
		for _, ip := range sources {
			cfg.Sources = append(cfg.Sources, netip.MustParseAddr(ip))
		}
		cfg.Loops, cfg.Count = loops, 5*int64(loops*len(servers)*len(sources))
		res := mustRun(t, t.Context(), cfg)
		wantSame(t, res, servers...)
		for i, s := range servers {
			want(t, "handshakes of "+res.Targets[i].Target, res.Targets[i].Handshakes, int64(5*loops*len(sources)))
			want(t, "address", res.Targets[i].Address, s.addr())
			for j, ip := range sources {
				n := 5 * loops
				if j == i {
					n++ // the probes: one to each target and from each source
				}
				want(t, "connections from "+ip, s.times("from "+ip), n)
			}
		}
	}
}

func TestWarmupIsNotMeasured(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Count, cfg.Warmup = 4, 150*time.Millisecond
	began := time.Now()
	res := mustRun(t, t.Context(), cfg)
	if took := time.Since(began); took < cfg.Warmup {
		t.Errorf("the run took %v, its warm-up alone %v", took, cfg.Warmup)
	}
	want(t, "handshakes", res.Handshakes, cfg.Count)
	if res.Total.Requests < 1+cfg.Count {
		t.Errorf("%d requests in all", res.Total.Requests)
	}
	wantSame(t, res, s)
	if first := res.Series[0]; first.At > -cfg.Warmup.Seconds() {
		t.Errorf("the series begins at %v s, want the warm-up's beginning", first.At)
	}
}

// held is a server that answers only the probe's request until a gate opens.
func held(t testing.TB, g *gate, then func(*server, *tls.Conn)) *server {
	return serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() > 1 {
			g.wait()
			then(s, c)
			return
		}
		s.answer(c)
	})
}

func TestSuccessAfterTheEnd(t *testing.T) {
	ending := newGate()
	s := held(t, ending, (*server).answer)
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration, cfg.Progress = 0, 100*time.Millisecond, ending.atPhase("ending")
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, int64(cfg.Connections)) // they began in time
	want(t, "handshakes/s", res.HandshakesPer, 0)                 // but did not end in time
	want(t, "errors", res.Errors, 0)
	want(t, "begun", res.Total.Begun, int64(cfg.Connections)+1)
	want(t, "duration", res.Duration, 0.1)
	wantSame(t, res, s)
}

func TestFailureAfterTheEnd(t *testing.T) {
	ending := newGate()
	s := held(t, ending, func(s *server, c *tls.Conn) { testkit.Reset(c.NetConn()) })
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration, cfg.Progress = 0, 100*time.Millisecond, ending.atPhase("ending")
	res := mustRun(t, t.Context(), cfg)
	wantErrors(t, res, kindReset, int64(cfg.Connections))
}

// After a refusal, a connection pauses before the next attempt.
func TestPauseAfterFailure(t *testing.T) {
	s := serve(t, func(s *server, c net.Conn) {
		if s.accepted.Load() == 1 {
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{serverCert()}})
			if tc.Handshake() == nil {
				io.Copy(io.Discard, tc)
			}
			return
		}
		testkit.Reset(c)
	})
	cfg := closedConfig(s)
	cfg.Request, cfg.Connections, cfg.Count = "", 1, 4
	began := time.Now()
	res := mustRun(t, t.Context(), cfg)
	wantErrors(t, res, kindReset, 4)
	if took := time.Since(began); took < 3*errorPause {
		t.Errorf("4 failures in %v: no pause of %v between two", took, errorPause)
	}
}
