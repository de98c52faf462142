// Metrics is a server of HTTP/1.1 on event loops whose metrics are in a Prometheus
// registry of its own, beside one that the program counts itself. They are served at
// another address, by net/http: a scrape is answered even if the loops are busy.
//
//	go run ./metrics -cert cert.pem -key key.pem
//	curl http://127.0.0.1:9090/metrics
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/metrics"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	metricsAddr := flag.String("metrics", "127.0.0.1:9090", "where to serve /metrics")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "how many event loops, each on a thread of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *metricsAddr, *certFile, *keyFile, *loops, func(at, metricsAt net.Addr) {
		log.Printf("serving https://%v, metrics at http://%v/metrics", at, metricsAt)
	}); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, metricsAddr, certFile, keyFile string, loops int, listening func(at, metricsAt net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
		log.Print(err) // the key works as before
	}
	handshakes := metrics.NewHandshakes()
	greetings := prometheus.NewCounter(prometheus.CounterOpts{Name: "example_greetings_total", Help: "Clients greeted."})
	server := &httploop.Server{
		TLS: &tls.Config{GetCertificate: engine.GetCertificate(
			func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })},
		Handler: func(rc *fasthttp.RequestCtx) {
			greetings.Inc()
			fmt.Fprintln(rc, "hello")
		},
		OnHandshake: handshakes.OnHandshake,
	}
	h, err := server.LoopHandler()
	if err != nil {
		return err
	}
	group, err := loop.NewGroup(loops, loop.Config{})
	if err != nil {
		return err
	}
	defer group.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Loops(group.Loops()...), metrics.Multibuffer(multibuffer.Shared()), handshakes, greetings)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	scrapes := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	scrapesAt, err := net.Listen("tcp", metricsAddr)
	if err != nil {
		return err
	}
	go scrapes.Serve(scrapesAt)
	defer scrapes.Close() // not when ctx is done: a scrape tells how the loops end

	ln, err := group.Listen("tcp", addr, h)
	if err != nil {
		return err
	}
	listening(ln.Addr(), scrapesAt.Addr())
	ended := make(chan error, 1)
	go func() { ended <- group.Run(context.Background()) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(group.Shutdown(drain), <-ended)
}
