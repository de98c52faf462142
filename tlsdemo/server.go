package main

import (
	"crypto/tls"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// protocols are what the servers offer by ALPN.
var protocols = []string{"http/1.1", "http/1.0"}

// quietTime is how long there must be no handshakes before memory is given back.
const quietTime = 2 * time.Second

// newServer returns a server that serves HTTP over TLS on the loops, one for all, so that
// they resume each other's sessions. The demo and "tlsdemo serve" share it. It completes
// the TLS configuration.
func newServer(r *responder, loops []*loop.Loop, config *tls.Config) *httploop.Server {
	config.NextProtos = protocols
	index := make(map[*loop.Loop]int)
	for i, l := range loops {
		index[l] = i
	}
	return &httploop.Server{
		TLS: config, RequestTimeout: r.requestTimeout, IdleTimeout: r.idleTimeout, MaxBody: maxBody,
		FreeMemory: quietTime, OnResponse: r.count,
		Handler: func(rc *fasthttp.RequestCtx) {
			c := rc.Conn().(*loop.TLSConn)
			s, ok := c.Value().(*session)
			if !ok {
				s = newSession(c)
				c.SetValue(s)
			}
			job, _ := jobs.FromContext(httploop.Context(rc))
			r.answer(rc, s, place{index[c.Loop()], job.ID()})
		},
	}
}

// tlsConn is a *loop.TLSConn or a *tls.Conn.
type tlsConn interface {
	ConnectionState() tls.ConnectionState
}
