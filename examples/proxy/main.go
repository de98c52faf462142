// Proxy takes TLS connections and passes what comes through them to a server that speaks
// TCP, and its answers back. A connection is two jobs on an event loop, one for each
// direction, each a plain loop of Read and Write.
//
// Nobody can fill the proxy's memory: what one side does not take is not read from the
// other, and a client that does not take the answers to its TLS KeyUpdates is not read
// from either. Nobody who takes nothing is kept for ever: a Write waits no longer than
// loop.Config.WriteTimeout, 30 seconds by default. Nor is a silent connection: see -idle.
//
//	go run ./proxy -cert cert.pem -key key.pem -backend 127.0.0.1:8080
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/jobsync"
	"github.com/jobloop/jobloop/loop"
)

const dialTimeout = 10 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	backend := flag.String("backend", "127.0.0.1:8080", "the server behind the proxy")
	idle := flag.Duration("idle", 2*time.Minute, "how long a connection lives without a byte in either direction")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "how many event loops, each on a thread of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	g, err := loop.NewGroup(*loops, loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, g, *addr, *certFile, *keyFile, *backend, *idle, func(at net.Addr) { log.Print("proxy at ", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves on g until ctx is done. It calls listening when it listens.
func run(ctx context.Context, g *loop.Group, addr, certFile, keyFile, backend string, idle time.Duration, listening func(net.Addr)) error {
	defer g.Close() // it has ended already, unless there is an error
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", addr, &loop.TLSHandler{
		Config:  &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: func(ctx context.Context, c *loop.TLSConn) error { return proxy(ctx, c, backend, idle) },
	})
	if err != nil {
		return err
	}
	listening(ln.Addr())

	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- g.Shutdown(ctx) // connections have so long to end
	})
	if err := g.Run(context.Background()); err != nil {
		return err
	}
	return <-stopped
}

// proxy is the job of a client. It ends when both directions have ended, or one has
// failed.
func proxy(ctx context.Context, client *loop.TLSConn, addr string, idle time.Duration) error {
	d := loop.Dialer{Timeout: dialTimeout}
	backend, err := d.Dial(ctx, "tcp", addr)
	if err != nil {
		reset(client.NetConn())
		return err
	}
	defer backend.Close()
	alive := func() {
		t := time.Now().Add(idle)
		client.SetReadDeadline(t)
		backend.SetReadDeadline(t)
	}
	direction := func(to, from stream) error {
		err := pass(to, from, alive)
		if err != nil {
			reset(client.NetConn()) // the other direction ends too
			reset(backend)
		}
		return err
	}
	var requests jobsync.Group
	if err := requests.Go(ctx, func(context.Context) error { return direction(backend, client) }); err != nil {
		reset(client.NetConn())
		reset(backend)
		return err
	}
	return errors.Join(direction(client, backend), requests.Wait(ctx))
}

// reset closes a connection so that its peer gets an error instead of an end. The peer
// must not take what has come through for all of it.
func reset(c *loop.Conn) {
	c.SetLinger(0)
	c.Close()
}

// stream is a *loop.Conn or a *loop.TLSConn.
type stream interface {
	io.ReadWriter
	CloseWrite() error
}

// pass passes on what it reads, and the end of it. Before each read it calls alive: while
// one direction is busy, the other may be silent for as long as it likes.
func pass(to, from stream, alive func()) error {
	for b := make([]byte, 32<<10); ; {
		alive()
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return to.CloseWrite()
		default:
			return err
		}
	}
}
