package load

import (
	"crypto/tls"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// OnEnd is told of every connection after the probes.
func TestOnEnd(t *testing.T) {
	for _, rate := range []float64{0, 500} {
		var turn atomic.Int64
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			if turn.Add(1)%4 != 0 { // every fourth gets no answer
				s.answer(c)
			}
		})
		var mu sync.Mutex
		var succeeded int64
		failed := make(map[string]int64)
		cfg := closedConfig(s)
		cfg.Rate, cfg.Loops, cfg.Count = rate, 2, 50
		cfg.OnEnd = func(e End) {
			mu.Lock()
			defer mu.Unlock()
			if e.Target != s.addr() || e.Address != s.addr() || (e.Kind == "") != (e.Latency > 0) {
				t.Errorf("%+v", e)
			}
			if e.Kind != "" {
				failed[e.Kind]++
			} else {
				succeeded++
			}
		}
		res := mustRun(t, t.Context(), cfg)
		want(t, "successes", succeeded, res.Total.Requests-res.Total.Probes)
		if len(failed) == 0 || !maps.Equal(failed, res.ErrorsByKind) { // all are measured
			t.Errorf("failures %v, want %v", failed, res.ErrorsByKind)
		}
	}
}

// Clients that abort are told of by phase.
func TestOnEndOfAborted(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Abort, cfg.Count = 1, 40
	var mu sync.Mutex
	aborted := make(map[string]int64)
	cfg.OnEnd = func(e End) {
		mu.Lock()
		defer mu.Unlock()
		aborted[e.Aborted]++
	}
	res := mustRun(t, t.Context(), cfg)
	if !maps.Equal(aborted, res.Total.Aborted) || len(aborted) < 2 {
		t.Errorf("told of %v, want %v", aborted, res.Total.Aborted)
	}
}

// Handshakes that never begin are told of too.
func TestOnEndOfNotBegun(t *testing.T) {
	g := newGate()
	s := held(t, g, (*server).answer)
	cfg := openConfig(1000, 200*time.Millisecond, s)
	cfg.Connections = 1
	cfg.Progress = g.atPhase("ending")
	var never atomic.Int64
	cfg.OnEnd = func(e End) {
		if e.Target == "" && e.Kind == kindNotBegun {
			never.Add(1)
		}
	}
	res := mustRun(t, t.Context(), cfg)
	want(t, "never begun", never.Load(), res.NotBegun)
	if res.NotBegun == 0 {
		t.Error("all began")
	}
}
