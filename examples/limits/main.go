// Limits is an HTTPS server on event loops that limits each client: how many connections
// it has open, how many requests it makes a second, and how large and how slow a request
// may be.
//
// A client is an IPv4 address, or the first 64 bits of an IPv6 address. Behind a proxy all
// clients have the proxy's address: then limit them there, or by what the proxy says of
// them. A request is counted when it has arrived, with its body. Those that cannot be read
// are not counted: they cost their connection.
//
//	go run ./limits -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
)

// limits are the limits that can be chosen.
type limits struct {
	conns           int           // open connections
	connsPerAddress int           // of them, of each client
	rate            float64       // requests a second of each client
	burst           int           // requests at once of a client that has made none for a while
	clients         int           // clients whose requests are counted at a time
	header          int           // bytes of a request's line and header, at least 1024
	body            int           // bytes of its body
	requestTime     time.Duration // for a request to arrive
}

func main() {
	var lim limits
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "how many event loops, each on a thread of its own")
	flag.IntVar(&lim.conns, "conns", 10_000, "how many connections may be open")
	flag.IntVar(&lim.connsPerAddress, "conns-per-address", 100, "how many connections a client may have open")
	flag.Float64Var(&lim.rate, "rate", 10, "how many requests a second a client may make")
	flag.IntVar(&lim.burst, "burst", 20, "how many requests a client may make at once")
	flag.IntVar(&lim.clients, "clients", 100_000, "how many clients to remember")
	flag.IntVar(&lim.header, "header", 8<<10, "how many bytes the header of a request may have")
	flag.IntVar(&lim.body, "body", 1<<20, "how many bytes the body of a request may have")
	flag.DurationVar(&lim.requestTime, "request-time", 10*time.Second, "how long a request may take to arrive")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, *loops, lim, func(at net.Addr) { log.Print("serving https://", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, certFile, keyFile string, loops int, lim limits, listening func(net.Addr)) error {
	if !(lim.rate > 0) || lim.burst < 1 { // not a number is not greater than 0
		return fmt.Errorf("-rate %v, -burst %d: no request would ever be answered", lim.rate, lim.burst)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	requests := newLimiter(rate.Limit(lim.rate), lim.burst, lim.clients)
	server := &httploop.Server{
		TLS:              &tls.Config{Certificates: []tls.Certificate{cert}},
		HandshakeTimeout: 10 * time.Second,
		RequestTimeout:   lim.requestTime,
		IdleTimeout:      30 * time.Second, // between requests
		MaxHeader:        lim.header,
		MaxBody:          lim.body,
		Handler:          func(rc *fasthttp.RequestCtx) { handle(rc, requests) },
	}
	h, err := server.LoopHandler()
	if err != nil {
		return err
	}
	g, err := loop.NewGroup(loops, loop.Config{
		MaxConns: lim.conns,
		// Further connections are reset before they cost a TLS handshake. To limit how
		// many a client makes a second, use a second limiter in Accept.
		MaxConnsPerAddress: lim.connsPerAddress,
		WriteTimeout:       10 * time.Second, // for a client to take the next part of an answer
	})
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", addr, h)
	if err != nil {
		g.Close()
		return err
	}
	listening(ln.Addr())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(g.Shutdown(drain), <-ended)
}

func handle(rc *fasthttp.RequestCtx, requests *limiter) {
	if wait := requests.wait(rc.RemoteAddr(), time.Now()); wait > 0 {
		rc.Error("too many requests", fasthttp.StatusTooManyRequests)
		rc.Response.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return
	}
	fmt.Fprintf(rc, "hello, %d bytes\n", len(rc.PostBody()))
}
