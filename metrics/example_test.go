package metrics_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/metrics"
)

// A server for HTTPS on loops, with its metrics at another address.
func Example() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
		log.Print(err) // the key works as before
	}
	handshakes := metrics.NewHandshakes()
	server := &httploop.Server{
		TLS: &tls.Config{GetCertificate: engine.GetCertificate(
			func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })},
		Handler:     func(rc *fasthttp.RequestCtx) { fmt.Fprintln(rc, "hello") },
		OnHandshake: handshakes.OnHandshake,
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
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Loops(group.Loops()...), metrics.Multibuffer(multibuffer.Shared()), handshakes)
	go http.ListenAndServe("127.0.0.1:9090", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(group.Run(context.Background()))
}

// Two listeners in a process, with a label that tells them apart.
func ExampleLoops() {
	config := &tls.Config{} // and its certificates
	for name, address := range map[string]string{"public": ":8443", "internal": "10.0.0.1:8444"} {
		handshakes := metrics.NewHandshakes()
		ln, err := (&loop.TLSListenConfig{TLS: config, OnHandshake: handshakes.OnHandshake}).Listen("tcp", address)
		if err != nil {
			log.Fatal(err)
		}
		labeled := prometheus.WrapRegistererWith(prometheus.Labels{"listener": name}, prometheus.DefaultRegisterer)
		labeled.MustRegister(metrics.Loops(ln.Loops()...), handshakes)
		go http.Serve(ln, nil)
	}
	select {}
}

// An engine with a Config of its own.
func ExampleBatches() {
	batches := metrics.NewBatches()
	e, err := multibuffer.New(multibuffer.Config{Worker: true, OnBatch: batches.OnBatch})
	if err != nil {
		log.Fatal(err)
	}
	prometheus.MustRegister(metrics.Multibuffer(e), batches)
}

// The engine's operations are counted, and how long they waited and took.
func ExampleOperations() {
	operations := metrics.NewOperations()
	e, err := offload.New(offload.Config{Workers: 8, OnOperation: operations.OnOperation})
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Offload(e), operations)
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		fmt.Println(f.GetName())
	}
	// Output:
	// jobloop_engine_canceled_total
	// jobloop_engine_operations_total
	// jobloop_offload_dropped_total
	// jobloop_offload_failed_total
	// jobloop_offload_queued
	// jobloop_offload_running
	// jobloop_offload_seconds
	// jobloop_offload_stuck_workers
	// jobloop_offload_wait_seconds
}

// Handshakes of a server with a goroutine for each connection.
func ExampleHandshakes_Observe() {
	handshakes := metrics.NewHandshakes()
	prometheus.MustRegister(handshakes)
	shake := func(c *tls.Conn) error {
		began := time.Now()
		err := c.Handshake()
		handshakes.Observe(c.ConnectionState(), time.Since(began), err)
		return err
	}
	_ = shake
}

// A hook that does more than count.
func ExampleHandshakes() {
	handshakes := metrics.NewHandshakes()
	handler := &loop.TLSHandler{
		OnHandshake: func(c *loop.TLSConn, took time.Duration, err error) {
			handshakes.OnHandshake(c, took, err)
			if err != nil {
				log.Printf("%v: %v", c.RemoteAddr(), err)
			}
		},
	}
	_ = handler
}
