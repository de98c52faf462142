//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

// This file has the servers in Go that ours is compared with. Each is what its
// library's documentation makes one write; all have the same TLS configuration
// and the same answer.

// peer is the command that runs one of them.
type peer struct {
	Kind        string        `arg:"" enum:"goroutines,goroutines-frugal,nethttp,fasthttp"`
	Cert        string        `required:""`
	Keyfile     string        `required:""`
	IdleTimeout time.Duration `default:"2m"`
}

func (p *peer) Run(ctx context.Context) error {
	config, err := tlsConfig(p.Cert, p.Keyfile)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return p.serve(ctx, ln, config)
}

// serve serves until ctx is done.
func (p *peer) serve(ctx context.Context, ln net.Listener, config *tls.Config) (err error) {
	context.AfterFunc(ctx, func() { ln.Close() })
	switch p.Kind {
	case nameGoroutines:
		err = serveGoroutines(ln, config, p.IdleTimeout, func() {})
	case nameFrugal:
		t := time.AfterFunc(quietTime, debug.FreeOSMemory)
		err = serveGoroutines(ln, config, p.IdleTimeout, func() { t.Reset(quietTime) })
	case "nethttp":
		s := &http.Server{
			TLSConfig:         config,
			IdleTimeout:       p.IdleTimeout,
			ReadHeaderTimeout: handshakeTimeout,
			ErrorLog:          log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, answerBody)
			}),
		}
		err = s.ServeTLS(ln, "", "")
	case "fasthttp":
		s := &fasthttp.Server{
			IdleTimeout: p.IdleTimeout,
			Logger:      log.New(io.Discard, "", 0),
			Handler:     func(ctx *fasthttp.RequestCtx) { ctx.WriteString(answerBody) },
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
func serveGoroutines(ln net.Listener, config *tls.Config, idleTimeout time.Duration, onHandshake func()) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(handshakeTimeout))
			t := tls.Server(c, config)
			if t.Handshake() != nil {
				return
			}
			onHandshake()
			c.SetDeadline(time.Time{})
			defer t.Close()
			r, w := bufio.NewReader(t), bufio.NewWriter(t)
			for {
				c.SetReadDeadline(time.Now().Add(idleTimeout))
				if _, err := r.Peek(1); err != nil {
					return
				}
				if serveRequest(r, w) != nil {
					return
				}
			}
		}()
	}
}

// serveRequest reads and answers one request by the same library as tlsdemo.
// What a request needs is given back after it: an idle connection keeps its two
// buffers only.
func serveRequest(r *bufio.Reader, w *bufio.Writer) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	if err := req.Read(r); err != nil {
		return err
	}
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
