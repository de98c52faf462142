package load

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests clients that abort.

// Every phase occurs, and is counted as the server sees it.
func TestAbort(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, rate := range []float64{0, 2000} {
			for _, request := range []string{"", "/"} {
				s := serveTLS(t, nil, nil)
				cfg := closedConfig(s)
				cfg.TLS.Version, cfg.Rate, cfg.Request, cfg.Loops = version, rate, request, 2
				// Without a request, only a close tells the client that the server is done.
				cfg.Count, cfg.Abort, cfg.Reset, cfg.Connections = 200, 0.5, request != "", 50
				res := mustRun(t, t.Context(), cfg)
				want(t, "errors", res.Errors, 0)
				sum, phases := int64(0), 4
				if request != "" {
					phases = 5
				}
				want(t, "phases", len(res.Aborted), phases)
				for phase, n := range res.Aborted {
					sum += n
					if n < 5 {
						t.Errorf("%d aborted %s", n, phase)
					}
				}
				want(t, "handshakes and aborts", res.Handshakes+sum, cfg.Count)
				if sum < 60 || sum > 140 {
					t.Errorf("%d of 200 aborted, want half", sum)
				}
				wantSame(t, res, s)
			}
		}
	}
}

// The same clients abort in each run.
func TestAbortIsRepeated(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Abort, cfg.Connections = 0.5, 1
	first := mustRun(t, t.Context(), cfg).Aborted
	second := mustRun(t, t.Context(), cfg).Aborted
	for phase, n := range first {
		want(t, "aborted "+phase, second[phase], n)
	}
}

// All clients may abort. Patience, resumption and holding go with it.
func TestAbortOfAll(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Count, cfg.Abort, cfg.Resume = 100, 1, 0.5
	cfg.Patience, cfg.Hold = everyone(testkit.Patience, testkit.Patience), everyone(time.Hour, time.Hour)
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, 0)
	want(t, "errors", res.Errors, 0)
	want(t, "held", res.Held, 0)
	want(t, "latencies", res.Latency.Count, 0)
	wantSame(t, res, s)
}

// A client that aborts does not spoil the session that others resume.
func TestAbortKeepsTheSession(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveTLS(t, nil, nil)
		cfg := closedConfig(s)
		cfg.Count, cfg.Abort, cfg.Resume, cfg.TLS.Version = 100, 0.5, 1, version
		res := mustRun(t, t.Context(), cfg)
		want(t, "resumed", res.Total.Resumed, res.Total.Handshakes-1) // the probe got it
		wantSame(t, res, s)
	}
}

// A server that does not answer the hello is aborted by some, and given up by others.
func TestAbortOrGiveUp(t *testing.T) {
	s := silentAfterProbe(t)
	cfg := impatient(s, everyone(50*time.Millisecond, 90*time.Millisecond))
	cfg.Count, cfg.Abort, cfg.Connections = 100, 0.5, 100
	res := mustRun(t, t.Context(), cfg)
	aborted := int64(0)
	for phase, n := range res.Aborted {
		aborted += n
		if phase == abortNames[abortShaken] || phase == abortNames[abortAsked] {
			t.Errorf("%d aborted %s", n, phase)
		}
	}
	wantErrors(t, res, kindGaveUp, cfg.Count-aborted)
	if aborted == 0 || res.Errors == 0 {
		t.Errorf("%d aborted, %d gave up", aborted, res.Errors)
	}
}

// A sweep does not take clients that abort for a server that does not keep up.
func TestAbortInSweep(t *testing.T) {
	r := &run{cfg: &Config{Sweep: &SweepConfig{P99: time.Second}}, workers: make([]*worker, 1)}
	begin := time.Now()
	m := &measured{rec: newRecorder(1), stage: &stage{rate: 100, start: begin, end: begin.Add(time.Second)}}
	m.rec.handshakes, m.rec.inTime, m.rec.aborted[abortInHello] = 80, 80, 20
	if step := r.step(100, m); !step.KeptUp {
		t.Errorf("20 aborted and 80 were done: %s", step.Why)
	}
}
