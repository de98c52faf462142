package httploop_test

import (
	"bufio"
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

// A connection speaks another protocol after its request, here an echo of lines. While it
// is silent, it has no job.
func ExampleHijackedConn() {
	var echo httploop.HijackHandler
	echo = func(_ context.Context, c *httploop.HijackedConn) error {
		for c.Readable() {
			line, err := bufio.NewReader(io.LimitReader(c, 100)).ReadString('\n')
			if err != nil {
				return err
			}
			if _, err := io.WriteString(c, line); err != nil {
				return err
			}
		}
		return c.Park(echo)
	}
	server := &httploop.Server{
		Handler: func(rc *fasthttp.RequestCtx) {
			rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
			rc.Response.Header.Set("Connection", "Upgrade")
			rc.Response.Header.Set("Upgrade", "echo")
			httploop.Hijack(rc, echo)
		},
		OnResponse: func(rc *fasthttp.RequestCtx) {
			log.Printf("%v %s: %d", rc.RemoteAddr(), rc.Path(), rc.Response.StatusCode())
		},
	}
	if _, err := server.LoopHandler(); err != nil { // for Listen, as above
		log.Fatal(err)
	}
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
