package httploop_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
)

// A server for HTTPS. Its handler waits for another server without blocking the loop.
func ExampleServer() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	server := &httploop.Server{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: func(rc *fasthttp.RequestCtx) {
			c, err := loop.Dial(httploop.Context(rc), "tcp", "127.0.0.1:9001")
			if err != nil {
				rc.Error(err.Error(), fasthttp.StatusBadGateway)
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "%s\n", rc.Path())
			io.Copy(rc, c)
		},
	}
	h, err := server.LoopHandler()
	if err != nil {
		log.Fatal(err)
	}
	group, err := loop.NewGroup(2, loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := group.Listen("tcp", ":8443", h); err != nil {
		log.Fatal(err)
	}
	log.Fatal(group.Run(context.Background()))
}

// A connection speaks another protocol after its request.
func ExampleHijack() {
	server := &httploop.Server{Handler: func(rc *fasthttp.RequestCtx) {
		rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
		rc.Response.Header.Set("Connection", "Upgrade")
		rc.Response.Header.Set("Upgrade", "echo")
		httploop.Hijack(rc, func(_ context.Context, c *httploop.HijackedConn) error {
			_, err := io.Copy(c, c) // on the loop; or c.Detach, for a goroutine
			return err
		})
	}}
	h, err := server.LoopHandler()
	if err != nil {
		log.Fatal(err)
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := l.Listen("tcp", ":8080", h); err != nil {
		log.Fatal(err)
	}
	log.Fatal(l.Run(context.Background()))
}
