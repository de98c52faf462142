package load

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// This file tests resumption of sessions.

func TestResume(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, request := range []string{"", "/"} {
			for _, test := range []struct {
				share float64
				count int64 // handshakes that resume, of 40
			}{{0, 0}, {0.5, 20}, {0.8, 32}, {1, 40}} {
				t.Run(fmt.Sprintf("%s, request %q, %v", tls.VersionName(version), request, test.share), func(t *testing.T) {
					s := serveTLS(t, nil, nil)
					cfg := closedConfig(s)
					cfg.TLS.Version, cfg.Request, cfg.Resume, cfg.Count, cfg.Reset = version, request, test.share, 40, false
					res := mustRun(t, t.Context(), cfg)
					want(t, "handshakes", res.Handshakes, 40)
					resumed := int64(0)
					for _, n := range res.Negotiated {
						if n.Resumed {
							resumed += n.Handshakes
						}
					}
					want(t, "resumed", resumed, test.count)
					want(t, "resumed in all", res.Total.Resumed, test.count) // the probe was full
					wantSame(t, res, s)
					if w := strings.Join(res.Warnings, "\n"); strings.Contains(w, "declined") {
						t.Errorf("warnings %q", w)
					}
				})
			}
		}
	}
}

func TestResumeWithSeveralTargetsAndLoops(t *testing.T) {
	servers := []*server{serveTLS(t, nil, nil), serveTLS(t, nil, nil)}
	cfg := closedConfig(servers...)
	cfg.Resume, cfg.Count, cfg.Loops, cfg.Connections = 1, 40, 2, 2
	res := mustRun(t, t.Context(), cfg)
	wantSame(t, res, servers...)
	// Each loop has its own sessions. Those of the first loop come from the probes.
	want(t, "resumed", res.Total.Resumed, 40-2)
}

func TestServerWithoutTickets(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveTLS(t, func(c *tls.Config) { c.SessionTicketsDisabled = true }, answerOnce)
		cfg := closedConfig(s)
		cfg.TLS.Version, cfg.Resume = version, 0.1
		res, err := Run(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "session tickets") || !strings.HasPrefix(err.Error(), s.addr()) {
			t.Errorf("%s: result %v, error %v, want one that says what is missing", tls.VersionName(version), res, err)
		}
	}
}

// A server that changes its ticket keys declines the old tickets once. After that, clients
// use its new ones.
func TestServerChangesTicketKeys(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, request := range []string{"", "/"} {
			var config *tls.Config
			s := serveTLS(t, func(c *tls.Config) {
				config = c
				c.SetSessionTicketKeys([][32]byte{randomKey()})
			}, func(s *server, c *tls.Conn) {
				if n := s.handshakes.Load(); n == 10 || n == 20 {
					config.SetSessionTicketKeys([][32]byte{randomKey()})
				}
				s.answer(c)
			})
			cfg := closedConfig(s)
			// The client waits until the server has closed. By then the server has changed
			// its keys.
			cfg.TLS.Version, cfg.Request, cfg.Resume, cfg.Count, cfg.Connections, cfg.Reset = version, request, 1, 30, 1, false
			res := mustRun(t, t.Context(), cfg)
			name := fmt.Sprintf("%s, request %q: ", tls.VersionName(version), request)
			want(t, name+"handshakes", res.Handshakes, 30)
			want(t, name+"resumed", res.Total.Resumed, 28)
			wantSame(t, res, s)
		}
	}
}

func randomKey() (key [32]byte) {
	rand.Read(key[:])
	return key
}

// From some time on, the server declines tickets and sends no new ones. Then handshakes are
// full, nothing fails, and the result says so.
func TestServerStopsToResume(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var hellos atomic.Int64
		s := serveTLS(t, func(c *tls.Config) {
			without := c.Clone()
			without.SessionTicketsDisabled = true
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				if hellos.Add(1) > 11 {
					return without, nil
				}
				return nil, nil
			}
		}, answerOnce)
		cfg := closedConfig(s)
		cfg.TLS.Version, cfg.Resume, cfg.Count, cfg.Connections = version, 1, 20, 1
		res := mustRun(t, t.Context(), cfg)
		want(t, "handshakes", res.Handshakes, 20)
		want(t, "resumed", res.Total.Resumed, 10)
		wantSame(t, res, s)
		if w := strings.Join(res.Warnings, "\n"); !strings.Contains(w, "declined") {
			t.Errorf("warnings %q, want one of 50 %% declined", w)
		}
	}
}

// answerOnce is a server that closes the connection after its answer. A client that waits
// for a ticket then does not wait long.
func answerOnce(s *server, c *tls.Conn) {
	readRequest(c)
	s.requests.Add(1)
	io.WriteString(c, okAnswer)
	c.CloseWrite()
}

// Handshakes that resume are spread evenly. The probe always tries to resume.
func TestResumeNext(t *testing.T) {
	for percent := 1; percent <= 1000; percent++ {
		share := float64(percent) / 1000
		w := &worker{run: &run{cfg: &Config{Resume: share}}, resumeShare: 1 - share}
		if !w.resumeNext(new(visit)) {
			t.Fatalf("share %v: the probe has no turn", share)
		}
		w.resumeShare = 0
		n := 0
		for i := 1; i <= 10_000; i++ {
			if w.resumeNext(new(visit)) {
				n++
			}
			if d := float64(n) - share*float64(i); d > 1e-6 || d < -1-1e-6 {
				t.Fatalf("share %v: %d of %d", share, n, i)
			}
		}
	}
}
