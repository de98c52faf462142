package load

import (
	"crypto/tls"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// This file tests sweeps.

// TestSearch looks for the knee of servers that keep up with a known rate.
func TestSearch(t *testing.T) {
	for _, first := range []float64{0.5, 10, 100, 3333} {
		for _, factor := range []float64{1, 1.01, 1.4, 1.5, 1.51, 2.2, 17, 1000, 1e6} {
			for _, limit := range []float64{0, first, 1.2 * first, 20 * first} {
				capacity := first * factor
				name := fmt.Sprintf("capacity %v, from %v, at most %v", capacity, first, limit)
				s := search{max: limit}
				tried := map[float64]bool{}
				knee := 0.0
				for rate := first; rate != 0; {
					if tried[rate] || len(tried) >= maxSweepSteps || rate < first || limit > 0 && rate > limit {
						t.Fatalf("%s: the step after %d is %v/s", name, len(tried), rate)
					}
					tried[rate] = true
					if rate <= capacity {
						knee = max(knee, rate)
					}
					rate = s.next(rate, rate <= capacity)
				}
				want(t, name+": kept", s.kept, knee)
				reachable := capacity
				if limit > 0 {
					reachable = min(capacity, limit)
				}
				if knee > reachable || knee < reachable*0.93 {
					t.Errorf("%s: the knee is %v", name, knee)
				}
			}
		}
	}
}

func TestSearchBelowTheFirstRate(t *testing.T) {
	s := search{}
	want(t, "next rate", s.next(100, false), 0)
	want(t, "kept", s.kept, 0)
}

// With so few handshakes one more or less decides nothing.
func TestKeptUp(t *testing.T) {
	for _, test := range []struct {
		inTime        int64
		rate, seconds float64
		want          bool
	}{
		{980, 100, 10, true}, {979, 100, 10, false}, {1, 0.5, 3, true}, {0, 0.5, 3, false}, {0, 0.1, 1, true}, {3, 1, 3.9, true},
	} {
		want(t, fmt.Sprintf("%+v", test), keptUp(test.inTime, test.rate, test.seconds), test.want)
	}
}

func TestStep(t *testing.T) {
	const rate, d = 100, 10 * time.Second
	start := time.Now()
	for _, test := range []struct {
		name                    string
		handshakes, late, fails int64 // late: ended after the end
		latency                 time.Duration
		why                     string // empty: kept up
	}{
		{"well", 1000, 0, 0, time.Millisecond, ""},
		{"just enough", 981, 19, 0, time.Millisecond, ""},
		{"too few in time", 979, 21, 0, time.Millisecond, "98 % of the rate"},
		{"few failures", 990, 0, 10, time.Millisecond, ""},
		{"failures", 980, 0, 20, time.Millisecond, "2.0 % failed (reset)"},
		{"only failures", 0, 0, 1000, time.Millisecond, "100.0 % failed"},
		{"nothing", 0, 0, 0, 0, "0 % of the rate"},
		{"slow", 1000, 0, 0, 3 * time.Second, "p99 was 3"},
		{"not too slow", 1000, 0, 0, 1990 * time.Millisecond, ""},
	} {
		r := &run{cfg: &Config{Sweep: &SweepConfig{P99: 2 * time.Second}}, workers: make([]*worker, 1)}
		m := &measured{rec: newRecorder(1), stage: &stage{rate: rate, start: start, end: start.Add(d)}}
		m.rec.handshakes, m.rec.inTime, m.rec.errors = test.handshakes+test.late, test.handshakes, test.fails
		m.rec.kinds[kindReset] = test.fails
		for range m.rec.handshakes {
			record(m.rec.latency, test.latency)
		}
		s := r.step(rate, m)
		if s.KeptUp != (test.why == "") || !strings.HasPrefix(s.Why, test.why) {
			t.Errorf("%s: kept up %v, why %q, want %q", test.name, s.KeptUp, s.Why, test.why)
		}
		want(t, test.name+": rate", s.Rate, rate)
		want(t, test.name+": handshakes/s", s.HandshakesPer, float64(test.handshakes)/d.Seconds())
		want(t, test.name+": errors", s.Errors, test.fails)
	}
}

// A sweep decides by the results of its steps, however fast this machine is.
func TestSweep(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := openConfig(100, 100*time.Millisecond, s)
	cfg.Sweep = &SweepConfig{P99: time.Minute, Max: 120}
	phases := map[string]bool{}
	cfg.Progress = func(p Progress) { phases[p.Phase] = true }
	res := mustRun(t, t.Context(), cfg)
	search, rate, knee, limit := search{max: 120}, 100.0, 0.0, ""
	best := res.Sweep.Steps[0]
	for i, step := range res.Sweep.Steps {
		want(t, fmt.Sprintf("rate of step %d", i), step.Rate, rate)
		if phase := fmt.Sprintf("%.0f/s", rate); !phases[phase] {
			t.Errorf("phases %v were shown, want %s among them", phases, phase)
		}
		if n := float64(step.Handshakes + step.Errors); math.Abs(n-rate/10) > 1 {
			t.Errorf("%v handshakes and errors in a tenth of a second at %v/s", n, rate)
		}
		if step.KeptUp {
			knee, best = rate, step
		} else {
			limit = step.Why
		}
		rate = search.next(rate, step.KeptUp)
	}
	want(t, "rate after the last", rate, 0)
	want(t, "knee", res.Sweep.Knee, knee)
	want(t, "limit", res.Sweep.Limit, limit)
	want(t, "latency, which is that of the best step", res.Latency, best.Latency)
	want(t, "handshakes/s", res.HandshakesPer, best.HandshakesPer)
	wantSame(t, res, s)
}

func TestSweepOfABrokenServer(t *testing.T) {
	s := failing(t, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, nil)
	cfg := openConfig(100, 100*time.Millisecond, s)
	cfg.TLS.Version = tls.VersionTLS13
	cfg.Sweep = &SweepConfig{P99: time.Second}
	res := mustRun(t, t.Context(), cfg)
	want(t, "steps", len(res.Sweep.Steps), 1)
	want(t, "knee", res.Sweep.Knee, 0)
	want(t, "limit", res.Sweep.Limit, "100.0 % failed (alert: protocol version not supported)")
	wantErrors(t, res, "alert: protocol version not supported", 10)
}
