package load

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests that open loops do not hide how slow a server is.

// wantAtLeast checks that a latency or a delay is not less than it must have been, up to
// the three digits of a histogram.
func wantAtLeast(t testing.TB, what string, us int64, least time.Duration) {
	t.Helper()
	if float64(us) < 0.998*float64(least.Microseconds()) {
		t.Errorf("%s is %v, it was %v at least", what, time.Duration(us)*time.Microsecond, least)
	}
}

func TestOpenLoopIsExact(t *testing.T) {
	for _, loops := range []int{1, 2, 3} {
		s := serveTLS(t, nil, nil)
		cfg := openConfig(250, 200*time.Millisecond, s)
		cfg.Loops = loops
		res := mustRun(t, t.Context(), cfg)
		want(t, "handshakes", res.Handshakes, 50)
		want(t, "errors", res.Errors, 0)
		want(t, "begun", res.Total.Begun, 51)
		want(t, "duration", res.Duration, 0.2)
		wantSame(t, res, s)
		if res.StartDelay == nil || res.StartDelay.Count != 50 {
			t.Errorf("start delay %+v, want 50 of them", res.StartDelay)
		}
	}
}

func TestOpenLoopCount(t *testing.T) {
	for _, loops := range []int{1, 2} {
		s := serveTLS(t, nil, nil)
		cfg := openConfig(500, 0, s)
		cfg.Loops, cfg.Count, cfg.Warmup = loops, 31, 50*time.Millisecond
		res := mustRun(t, t.Context(), cfg)
		want(t, "handshakes", res.Handshakes, cfg.Count)
		want(t, "begun", res.Total.Begun, 1+25+cfg.Count) // probe, warm-up
		wantSame(t, res, s)
	}
}

// A visit that is due at the very end is begun too, if a connection is free.
func TestNothingIsGivenUpWithoutNeed(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := openConfig(10_000, 20*time.Millisecond, s)
	cfg.Request = ""
	for range 5 {
		res := mustRun(t, t.Context(), cfg)
		want(t, "not begun", res.NotBegun, 0)
		want(t, "handshakes", res.Handshakes, 200)
		want(t, "errors", res.Errors, 0)
	}
}

func TestWarmupOfAnOpenLoop(t *testing.T) {
	// All visits fail until some time after the measured part has begun.
	measuring := newGate()
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		select {
		case <-measuring.open:
			s.answer(c)
		default:
			if s.handshakes.Load() == 1 {
				s.answer(c)
			}
			testkit.Reset(c.NetConn())
		}
	})
	cfg := openConfig(250, 400*time.Millisecond, s)
	cfg.Warmup, cfg.Progress = 200*time.Millisecond, measuring.atPhase("measuring")
	res := mustRun(t, t.Context(), cfg)
	want(t, "begun", res.Total.Begun, 1+50+100)
	want(t, "measured", res.Handshakes+res.Errors, 100)
	// On a busy machine, the server answers again before the last of them come.
	if n := res.Total.Errors - res.Errors; n < 1 || n > 50 {
		t.Errorf("%d failures were not measured, want up to 50, of the warm-up", n)
	}
}

// Arrivals go on while a server stalls. The latency of each counts from the time it was
// due.
func TestStalledServer(t *testing.T) {
	const rate, d = 200, 400 * time.Millisecond
	ending := newGate()
	s := held(t, ending, (*server).answer)
	cfg := openConfig(rate, d, s)
	const arrivals = 80
	cfg.Progress = func(p Progress) {
		if p.Phase == "ending" && s.handshakes.Load() == 1+arrivals { // a busy machine begins some late
			ending.let()
		}
	}
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, arrivals)
	want(t, "most in flight", res.MaxInFlight, arrivals)
	want(t, "in time", res.HandshakesPer, 0)
	wantSame(t, res, s)
	// The k-th arrival waited at least from k/rate to d.
	for _, q := range res.Distribution {
		least := time.Duration(q.Percentile/100*float64(d)) - time.Second/rate
		wantAtLeast(t, "a quantile of latency", q.Latency, least)
	}
	wantAtLeast(t, "the greatest latency", res.Latency.Max, d)
}

// stalling is a listener that accepts the first connection, which is the probe, and then
// nothing until a gate opens.
type stalling struct {
	net.Listener
	gate     *gate
	accepted bool
}

func (s *stalling) Accept() (net.Conn, error) {
	if s.accepted {
		s.gate.wait()
	}
	s.accepted = true
	return s.Listener.Accept()
}

// If a server does not even accept, its backlog fills up on schedule.
func TestServerThatDoesNotAccept(t *testing.T) {
	testkit.CheckLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ending := newGate()
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	s := serveOn(t, &stalling{Listener: ln, gate: ending}, func(s *server, raw net.Conn) {
		c := tls.Server(raw, config)
		if c.Handshake() == nil {
			s.note(c.ConnectionState())
			s.answer(c)
		}
	})
	cfg := openConfig(200, 200*time.Millisecond, s)
	cfg.Progress = ending.atPhase("ending")
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, 40)
	want(t, "most in flight", res.MaxInFlight, 40)
	wantAtLeast(t, "p50", res.Latency.P50, 95*time.Millisecond)
	wantSame(t, res, s)
}

// With too few connections, handshakes begin late. Their latency includes the delay.
func TestLateStarts(t *testing.T) {
	const hold = 250 * time.Millisecond
	released := newGate()
	var first sync.Once
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() > 1 { // not the probe
			first.Do(func() { time.AfterFunc(hold, released.let) })
			released.wait()
		}
		s.answer(c)
	})
	cfg := openConfig(100, 0, s)
	cfg.Count, cfg.Connections = 50, 2
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "errors", res.Errors, 0)
	want(t, "most in flight", res.MaxInFlight, 2)
	want(t, "most in flight, as the server counts", s.most.Load(), 2)
	// The first two were held. The k-th of the others was due 10 ms·k after the
	// first, and began when the first had ended. So the third has the greatest
	// delay, and the p90 is at least the delay of the eighth.
	wantAtLeast(t, "the greatest delay", res.StartDelay.Max, hold-20*time.Millisecond)
	wantAtLeast(t, "the delays' p90", res.StartDelay.P90, hold-70*time.Millisecond)
	wantAtLeast(t, "the latencies' p90", res.Latency.P90, hold-70*time.Millisecond)
	if len(res.Warnings) == 0 {
		t.Error("no warning that connections were too few")
	}
}

func TestNotBegun(t *testing.T) {
	for _, loops := range []int{1, 2} {
		ending := newGate()
		s := held(t, ending, (*server).answer)
		cfg := openConfig(200, 200*time.Millisecond, s)
		cfg.Loops, cfg.Connections, cfg.Progress = loops, 2, ending.atPhase("ending")
		res := mustRun(t, t.Context(), cfg)
		// At the end, when the two connections are released, two more may follow.
		if res.NotBegun < 36 || res.NotBegun > 38 {
			t.Errorf("%d of 40 not begun, want all but 2", res.NotBegun)
		}
		want(t, "handshakes and those not begun", res.Handshakes+res.NotBegun, 40)
		want(t, "begun", res.Total.Begun, 1+res.Handshakes)
		wantErrors(t, res, kindNotBegun, res.NotBegun)
		want(t, "errors of connections", res.Total.Errors, 0)
	}
}

func TestRampOfAnOpenLoop(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := openConfig(200, 100*time.Millisecond, s)
	cfg.Ramp = 300 * time.Millisecond
	res := mustRun(t, t.Context(), cfg)
	want(t, "begun", res.Total.Begun, 1+30+20) // half as many in the ramp as at full rate
	want(t, "handshakes", res.Handshakes, 20)
	wantSame(t, res, s)
}

// A measured part takes its whole time, also if no visit is due near its end:
// whoever watches the server meanwhile relies on that.
func TestOpenLoopLastsUntilItsEnd(t *testing.T) {
	begin := time.Now()
	res := mustRun(t, t.Context(), openConfig(10, 190*time.Millisecond, serveTLS(t, nil, nil)))
	want(t, "handshakes", res.Handshakes, 2)
	if took := time.Since(begin); took < 190*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}
