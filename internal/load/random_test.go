package load

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests that the counts are right however broken the server is.

// breaking writes until its budget of bytes is used up, and then ends the connection. It
// may spoil a byte before that.
type breaking struct {
	net.Conn
	budget, spoil int
	reset         bool
}

func (b *breaking) Write(p []byte) (int, error) {
	n := min(len(p), b.budget)
	part := append([]byte(nil), p[:n]...)
	if b.spoil < n {
		part[max(b.spoil, 0)] ^= 0x55
		b.spoil = 1 << 30
	}
	b.budget -= n
	b.spoil -= n
	if _, err := b.Conn.Write(part); err != nil {
		return 0, err
	}
	if n < len(p) {
		if b.reset {
			testkit.Reset(b.Conn)
		} else {
			b.Conn.Close()
		}
		return n, net.ErrClosed
	}
	return n, nil
}

func TestServersThatBreakOff(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, rate := range []float64{0, 2000} {
			seed := uint64(time.Now().UnixNano())
			var turn atomic.Uint64
			config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
			s := serve(t, func(s *server, raw net.Conn) {
				if s.accepted.Load() > 1 {
					random := rand.New(rand.NewPCG(seed, turn.Add(1)))
					raw = &breaking{Conn: raw, budget: random.IntN(2500), spoil: random.IntN(3000), reset: random.IntN(2) == 0}
				}
				c := tls.Server(raw, config)
				if c.Handshake() == nil {
					s.note(c.ConnectionState())
					s.answerWith(c, longAnswer(500))
				} else {
					io.Copy(io.Discard, raw)
				}
			})
			cfg := closedConfig(s)
			cfg.Rate, cfg.Count, cfg.Connections, cfg.TLS.Version = rate, 100, 50, version
			cfg.Timeout, cfg.Loops, cfg.Resume = 500*time.Millisecond, 2, 0
			cfg.Reset = rate == 0
			res, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			wantSums(t, &cfg, res)
			want(t, "handshakes and errors", res.Handshakes+res.Errors, cfg.Count)
			want(t, "begun", res.Total.Begun, cfg.Count+1)
			want(t, "errors of a kind that is none", res.ErrorsByKind[kindOther], 0)
			if t.Failed() {
				t.Fatalf("seed %d: %v", seed, res.ErrorExamples)
			}
		}
	}
}

// FuzzAnswer makes a server answer anything. Each connection must be counted once. One
// whose job panicked would not be.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"", okAnswer, chunked(10), "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx", "HTTP/1.1 200 OK\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "\r\n\r\n\r\n", "HTTP/1.1 999\r\n\r\n",
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			if s.handshakes.Load() == 1 {
				s.answer(c)
				return
			}
			readRequest(c)
			io.WriteString(c, answer)
			c.CloseWrite()
			io.Copy(io.Discard, c)
		})
		cfg := closedConfig(s)
		cfg.Count, cfg.Connections, cfg.Rate = 1, 1, 1000
		res := mustRun(t, t.Context(), cfg)
		want(t, "handshakes and errors", res.Handshakes+res.Errors, 1)
	})
}
