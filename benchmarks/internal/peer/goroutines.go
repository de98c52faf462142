//go:build linux

package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

func init() {
	speaks := []Protocol{HTTPS, TLSEcho}
	register(&goPeer{info{name: "goroutines", speaks: speaks}, func(ctx context.Context, s *Serve) error {
		return s.goroutines(ctx, func() {})
	}})
	register(&goPeer{info{"goroutines-multibuffer", true, speaks, multibufferRuns}, func(ctx context.Context, s *Serve) error {
		if err := s.wrapKey(); err != nil {
			return err
		}
		return s.goroutines(ctx, func() {})
	}})
	// It gives memory back when handshakes are over, as tlsdemo does.
	register(&goPeer{info{name: "goroutines-frugal", speaks: speaks}, func(ctx context.Context, s *Serve) error {
		const quiet = 2 * time.Second
		t := time.AfterFunc(quiet, debug.FreeOSMemory)
		return s.goroutines(ctx, func() { t.Reset(quiet) })
	}})
}

// wrapKey has the multi-buffer engine make the key's signatures, as anybody would
// who has a server like these.
func (s *Serve) wrapKey() (err error) {
	key := &s.config.Certificates[0].PrivateKey
	*key, err = multibuffer.Wrap(*key)
	s.engine.Store(multibuffer.Shared())
	return err
}

// goroutines is the model that an event loop replaces: a goroutine for each
// connection, which blocks in crypto/tls. onHandshake is called after each
// handshake.
func (s *Serve) goroutines(ctx context.Context, onHandshake func()) error {
	ln, err := s.listen(ctx)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(s.HandshakeTimeout))
			t := tls.Server(c, s.config)
			if t.Handshake() != nil {
				return
			}
			onHandshake()
			c.SetDeadline(time.Time{})
			defer t.Close()
			s.serveBlocking(t)
		}()
	}
}

// serveBlocking serves a connection by code that blocks, until its client goes.
func (s *Serve) serveBlocking(c net.Conn) error {
	if s.Protocol == HTTPS {
		return s.answerBlocking(c)
	}
	b := make([]byte, s.Buffer)
	for {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
}

// answerBlocking reads and answers requests by the same library as tlsdemo.
// What a request needs is given back after it: an idle connection keeps its two
// buffers only.
func (s *Serve) answerBlocking(c net.Conn) error {
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	for {
		c.SetReadDeadline(time.Now().Add(s.IdleTimeout))
		if _, err := r.Peek(1); err != nil {
			return err
		}
		if err := s.answerOne(r, w); err != nil {
			return err
		}
	}
}

func (s *Serve) answerOne(r *bufio.Reader, w *bufio.Writer) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	if err := req.Read(r); err != nil {
		return err
	}
	s.counts.requests.Add(1)
	resp.Header.SetContentType("text/plain; charset=utf-8")
	resp.SetBodyString(answerBody)
	if err := resp.Write(w); err != nil {
		return err
	}
	return w.Flush()
}
