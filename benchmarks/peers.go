//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// This file has the servers in Go that ours is compared with. Each is what its
// library's documentation makes one write; all have the same TLS configuration
// and the same answer.

// peer is the command that runs one of them.
type peer struct {
	Kind             string        `arg:"" enum:"goroutines,goroutines-frugal,nethttp,fasthttp"`
	Cert             string        `required:""`
	Keyfile          string        `required:""`
	IdleTimeout      time.Duration `default:"2m"`
	HandshakeTimeout time.Duration `default:"10s"`
	Tickets          bool          // give session tickets
	Metrics          string        // address to tell the counters at, if any

	counts peerCounters
}

// peerCounters is what a peer knows of its clients. All but the requests are
// counted only if there is an address to tell them at.
type peerCounters struct{ connections, handshakes, resumed, requests atomic.Int64 }

func (p *peer) Run(ctx context.Context) error {
	config, err := tlsConfig(p.Cert, p.Keyfile)
	if err != nil {
		return err
	}
	config.SessionTicketsDisabled = !p.Tickets
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if p.Metrics != "" {
		at, err := net.Listen("tcp", p.Metrics)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		defer at.Close()
		go http.Serve(at, &p.counts)
		ln = p.counts.watch(ln, config)
	}
	fmt.Println("listening on", ln.Addr())
	return p.serve(ctx, ln, config)
}

// watch counts the connections and handshakes of a listener.
func (c *peerCounters) watch(ln net.Listener, config *tls.Config) net.Listener {
	// It is called in each handshake, of a resumed session too, when it is the
	// client's last message that is missing, or (TLS 1.2) the key exchange.
	config.VerifyConnection = func(s tls.ConnectionState) error {
		c.handshakes.Add(1)
		if s.DidResume {
			c.resumed.Add(1)
		}
		return nil
	}
	return countingListener{ln, &c.connections}
}

type countingListener struct {
	net.Listener
	accepted *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// ServeHTTP tells the counters in the Prometheus text format.
func (c *peerCounters) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "peer_connections_total %d\npeer_handshakes_total %d\npeer_resumed_total %d\npeer_requests_total %d\n",
		c.connections.Load(), c.handshakes.Load(), c.resumed.Load(), c.requests.Load())
}

// serve serves until ctx is done.
func (p *peer) serve(ctx context.Context, ln net.Listener, config *tls.Config) (err error) {
	context.AfterFunc(ctx, func() { ln.Close() })
	switch p.Kind {
	case nameGoroutines:
		err = p.serveGoroutines(ln, config, func() {})
	case nameFrugal:
		t := time.AfterFunc(quietTime, debug.FreeOSMemory)
		err = p.serveGoroutines(ln, config, func() { t.Reset(quietTime) })
	case "nethttp":
		s := &http.Server{
			TLSConfig:         config,
			IdleTimeout:       p.IdleTimeout,
			ReadHeaderTimeout: p.HandshakeTimeout,
			ErrorLog:          log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				p.counts.requests.Add(1)
				io.WriteString(w, answerBody)
			}),
		}
		err = s.ServeTLS(ln, "", "")
	case "fasthttp":
		s := &fasthttp.Server{
			IdleTimeout: p.IdleTimeout,
			Logger:      log.New(io.Discard, "", 0),
			Handler: func(ctx *fasthttp.RequestCtx) {
				p.counts.requests.Add(1)
				ctx.WriteString(answerBody)
			},
		}
		err = s.Serve(tls.NewListener(ln, config))
	}
	if ctx.Err() != nil { // told to end
		return nil
	}
	return err
}

// quietTime is how long after the last handshake the frugal server gives memory
// back, as tlsdemo does.
const quietTime = 2 * time.Second

const handshakeTimeout = 10 * time.Second

// answerBody is as long as that of tlsdemo.
const answerBody = `GET /
body: 0 bytes
protocol: TLS 1.3
cipher suite: TLS_AES_128_GCM_SHA256
session resumed: false
loop: 0
job: 1
`

// serveGoroutines is the model that an event loop replaces: a goroutine for
// each connection, which blocks in crypto/tls. onHandshake is called after each
// handshake.
func (p *peer) serveGoroutines(ln net.Listener, config *tls.Config, onHandshake func()) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(cmp.Or(p.HandshakeTimeout, handshakeTimeout)))
			t := tls.Server(c, config)
			if t.Handshake() != nil {
				return
			}
			onHandshake()
			c.SetDeadline(time.Time{})
			defer t.Close()
			r, w := bufio.NewReader(t), bufio.NewWriter(t)
			for {
				c.SetReadDeadline(time.Now().Add(p.IdleTimeout))
				if _, err := r.Peek(1); err != nil {
					return
				}
				if p.serveRequest(r, w) != nil {
					return
				}
			}
		}()
	}
}

// serveRequest reads and answers one request by the same library as tlsdemo.
// What a request needs is given back after it: an idle connection keeps its two
// buffers only.
func (p *peer) serveRequest(r *bufio.Reader, w *bufio.Writer) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	if err := req.Read(r); err != nil {
		return err
	}
	p.counts.requests.Add(1)
	resp.Header.SetContentType("text/plain; charset=utf-8")
	resp.SetBodyString(answerBody)
	if err := resp.Write(w); err != nil {
		return err
	}
	return w.Flush()
}

// tlsConfig returns the configuration of all servers in this file. What is not
// set is crypto/tls's default.
func tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
	}, nil
}
