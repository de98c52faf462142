//go:build linux

package peer

import (
	"context"
	"crypto"
	"crypto/tls"
	"net"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/gnetjobs"
)

func init() {
	speaks := []Protocol{HTTPS, TLSEcho}
	register(&goPeer{info{"gnetjobs", true, speaks, nil}, func(ctx context.Context, s *Serve) error {
		return s.gnetjobs(ctx, func(h *gnetHandler) gnet.EventHandler { return h })
	}})
	register(&goPeer{info{"gnetjobs-job", true, speaks, nil}, func(ctx context.Context, s *Serve) error {
		return s.gnetjobs(ctx, func(h *gnetHandler) gnet.EventHandler { return jobHandler{h} })
	}})
	register(&goPeer{info{"gnetjobs-multibuffer", true, speaks, multibufferRuns}, func(ctx context.Context, s *Serve) error {
		if err := s.gather(); err != nil {
			return err
		}
		return s.gnetjobs(ctx, func(h *gnetHandler) gnet.EventHandler { return h })
	}})
}

// gnetjobs runs a server on gnet with TLS.
func (s *Serve) gnetjobs(ctx context.Context, wrap func(*gnetHandler) gnet.EventHandler) error {
	return s.gnet(ctx, func(h *gnetHandler) gnet.EventHandler {
		return counted{gnetjobs.TLS(wrap(h), s.config, gnetjobs.Options{HandshakeTimeout: s.HandshakeTimeout, IdleTimeout: s.IdleTimeout}), s}
	})
}

// counted counts the connections of a server.
type counted struct {
	gnet.EventHandler
	s *Serve
}

func (c counted) OnOpen(conn gnet.Conn) ([]byte, gnet.Action) {
	c.s.counts.connections.Add(1)
	return c.EventHandler.OnOpen(conn)
}

func (c counted) OnClose(conn gnet.Conn, err error) gnet.Action {
	c.s.counts.closed.Add(1)
	return c.EventHandler.OnClose(conn, err)
}

// jobHandler serves each connection by the goroutine server's code, in a job.
type jobHandler struct{ *gnetHandler }

func (h jobHandler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if err := gnetjobs.Job(c, func(nc net.Conn) error { return h.s.serveBlocking(nc) }); err != nil {
		return nil, gnet.Close
	}
	return nil, gnet.None
}

// gather has the multi-buffer engine compute the key's signatures.
func (s *Serve) gather() error {
	eng, err := multibuffer.New(multibuffer.Config{})
	if err != nil {
		return err
	}
	s.engine.Store(eng)
	cert := s.config.Certificates[0]
	if cert.PrivateKey, err = eng.Key(cert.PrivateKey.(crypto.Signer)); err != nil {
		return err
	}
	s.config.Certificates = nil
	s.config.GetCertificate = engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	return nil
}
