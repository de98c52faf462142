package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests clients that wait for their answers without a job.

// visiting reports whether any job makes a visit.
func visiting() bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "load.(*worker).visit(")
}

// Clients that wait have no job, and go on when their answers come: all are counted, and the
// next visits are made.
func TestWaitingNeedsNoJob(t *testing.T) {
	for name, rate := range map[string]float64{"closed": 0, "open": 1000} {
		t.Run(name, func(t *testing.T) {
			const clients = 40
			parked := newGate()
			s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
				if s.handshakes.Load() > 1 { // the first is the probe
					s.saw("asking")
					parked.wait()
				}
				s.answer(c)
			})
			cfg := closedConfig(s)
			cfg.Rate, cfg.Connections, cfg.Count = rate, clients, 3*clients
			cfg.Progress = func(Progress) {
				if s.times("asking") == clients && !visiting() {
					parked.let()
				}
			}
			res := mustRun(t, t.Context(), cfg)
			select {
			case <-parked.open:
			default:
				t.Error("the clients that waited had jobs")
			}
			want(t, "handshakes", res.Handshakes, cfg.Count)
			want(t, "in flight", res.MaxInFlight, clients)
			wantSame(t, res, s)
		})
	}
}

// An answer that comes in pieces smaller than a record is read to its end.
func TestWaitingForPartsOfARecord(t *testing.T) {
	s := serve(t, func(s *server, raw net.Conn) {
		slow := &bytewise{Conn: raw}
		c := tls.Server(slow, &tls.Config{Certificates: []tls.Certificate{serverCert()}})
		if c.Handshake() != nil {
			return
		}
		s.note(c.ConnectionState())
		slow.on = s.handshakes.Load() > 1
		s.answer(c)
	})
	cfg := closedConfig(s)
	cfg.Resume = 0.5 // session tickets come first
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "errors", res.Errors, 0)
	wantSame(t, res, s)
}

// bytewise writes one byte at a time, while it is on.
type bytewise struct {
	net.Conn
	on bool
}

func (c *bytewise) Write(p []byte) (n int, err error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	for i := range p {
		if _, err = c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// Clients that wait when a run is stopped are cut off, and counted.
func TestWaitingIsCutOff(t *testing.T) {
	for _, loops := range []int{1, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			if s.handshakes.Load() > 1 {
				io.ReadFull(c, make([]byte, 10)) // a request has come
				s.saw("asking")
				io.Copy(io.Discard, c)
				return
			}
			s.answer(c)
		})
		cfg := closedConfig(s)
		cfg.Loops, cfg.Connections, cfg.Rate, cfg.Warmup, cfg.Duration, cfg.Count = loops, 8, 1000, time.Hour, time.Hour, 0
		cfg.Progress = func(Progress) {
			if s.times("asking") == cfg.Connections && !visiting() {
				cancel()
			}
		}
		res := mustRun(t, ctx, cfg)
		want(t, "stopped", res.Stopped, Interrupted)
		want(t, "canceled", res.Total.Canceled, 8)
		if res.Total.OldestCanceled <= 0 {
			t.Errorf("the oldest was canceled after %d µs", res.Total.OldestCanceled)
		}
		testkit.Eventually(t, "the server sees all of them end", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.conns) == 0
		})
	}
}
