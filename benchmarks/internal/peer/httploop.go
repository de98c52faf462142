//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
)

// What a user of the library writes: an HTTP server on loops, and one of net/http whose
// handshakes are made on loops.
func init() {
	for _, p := range []struct {
		name  string
		serve func(*Serve, context.Context) error
	}{{"httploop", (*Serve).httpLoop}, {"nethttp-listentls", (*Serve).netHTTPOnLoops}} {
		speaks := []Protocol{HTTPS}
		register(&goPeer{info{p.name, true, speaks, nil}, func(ctx context.Context, s *Serve) error { return p.serve(s, ctx) }})
		register(&goPeer{info{p.name + "-multibuffer", true, speaks, multibufferRuns}, func(ctx context.Context, s *Serve) error {
			if err := s.bindKey(); err != nil {
				return err
			}
			return p.serve(s, ctx)
		}})
	}
}

// bindKey has the multi-buffer engine make the key's signatures, in jobs.
func (s *Serve) bindKey() error {
	cert := s.config.Certificates[0]
	var err error
	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
		return err
	}
	s.engine.Store(multibuffer.Shared())
	s.config.Certificates = nil
	s.config.GetCertificate = engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	return nil
}

// loopConfig counts connections.
func (s *Serve) loopConfig() loop.Config {
	cfg := loop.Config{Logger: slog.New(slog.DiscardHandler)}
	if s.Metrics {
		cfg.Accept = func(net.Addr) bool { s.counts.connections.Add(1); return true }
		cfg.Closed = func(net.Addr) { s.counts.closed.Add(1) }
	}
	return cfg
}

func (s *Serve) httpLoop(ctx context.Context) error {
	server := &httploop.Server{
		TLS: s.config, HandshakeTimeout: s.HandshakeTimeout, RequestTimeout: s.HandshakeTimeout, IdleTimeout: s.IdleTimeout,
		FreeMemory: 2 * time.Second, // as tlsdemo does
		Handler: func(rc *fasthttp.RequestCtx) {
			s.counts.requests.Add(1)
			rc.WriteString(answerBody)
		},
	}
	h, err := server.LoopHandler()
	if err != nil {
		return err
	}
	g, err := loop.NewGroup(s.Threads, s.loopConfig())
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		return err
	}
	s.listening(ln.Addr())
	return g.Run(ctx)
}

func (s *Serve) netHTTPOnLoops(ctx context.Context) error {
	cfg := loop.TLSListenConfig{TLS: s.config, Loops: s.Threads, HandshakeTimeout: s.HandshakeTimeout, DrainTimeout: -1, Loop: s.loopConfig()}
	// A connection leaves its loop long before it ends.
	cfg.Loop.Closed = nil
	ln, err := cfg.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	s.listening(ln.Addr())
	server := &http.Server{
		IdleTimeout: s.IdleTimeout, ReadHeaderTimeout: max(s.HandshakeTimeout, time.Second), ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.counts.requests.Add(1)
			io.WriteString(w, answerBody)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				s.counts.closed.Add(1)
			}
		},
	}
	return server.Serve(ln)
}
