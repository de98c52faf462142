package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/loop"
)

// demoRun is one run of the demo: clients, and a server on a loop of its own.
type demoRun struct {
	name    string
	cert    *tls.Certificate // with its key in the engine, or plain
	engine  engineKind
	engines *engines // nil: no engine

	// The results.
	clients  *clients
	meter    *meter
	elapsed  time.Duration
	cpu      time.Duration // of the loop's thread
	cpuKnown bool
	cores    coreUse // while the clients ran
}

// run does the run. Failed handshakes are counted and are no error here.
func (r *demoRun) run(ctx context.Context, con *console, c *demoCmd) error {
	l, err := loop.New(loop.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	r.meter = newMeter()
	cert := *r.cert
	srv := newServer(&responder{requestTimeout: clientTimeout, idleTimeout: clientTimeout}, []*loop.Loop{l}, &tls.Config{
		GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
	})
	srv.HandshakeTimeout = clientTimeout
	srv.OnHello, srv.OnHandshake = r.meter.onHello, r.meter.onHandshake
	h, err := srv.LoopHandler()
	if err != nil {
		return err
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()

	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	r.clients = newClients(ln.Addr().String(), c.Clients, c.Handshakes, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	before, err := loopCPU(l)
	if err != nil {
		return err
	}
	usedBefore := takeCoreUse()
	begin := time.Now()
	stopProgress := showProgress(con.out, r.clients, c.Duration)
	r.clients.run(ctx)
	r.elapsed = time.Since(begin)
	r.cores = takeCoreUse().sub(usedBefore)
	stopProgress()
	after, err := loopCPU(l)
	if err != nil {
		return err
	}
	r.cpu, r.cpuKnown = after.time-before.time, after.known

	drain, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := l.Shutdown(drain); err != nil {
		return fmt.Errorf("the server did not stop: %w", err)
	}
	return <-ended
}

// cpuTime is the CPU time that a thread has used. known is false if the system
// does not tell.
type cpuTime struct {
	time  time.Duration
	known bool
}

// loopCPU returns the CPU time that a running loop's thread has used.
func loopCPU(l *loop.Loop) (cpuTime, error) {
	answer := make(chan cpuTime, 1)
	if err := l.Post(func() {
		var t cpuTime
		t.time, t.known = threadCPU()
		answer <- t
	}); err != nil {
		return cpuTime{}, err
	}
	return <-answer, nil
}

// worked and failed count the clients' handshakes.
func (r *demoRun) worked() int64 { return r.clients.latency.TotalCount() }
func (r *demoRun) failed() int64 { return r.clients.finished.Load() - r.worked() }

// perSecond is the rate of handshakes.
func (r *demoRun) perSecond() float64 { return float64(r.worked()) / r.elapsed.Seconds() }

// cpuEach is the CPU time of the loop's thread per handshake, in µs.
func (r *demoRun) cpuEach() float64 {
	return float64(r.cpu.Nanoseconds()) / 1e3 / float64(r.clients.finished.Load())
}

// latency is a percentile of the handshakes' latencies, in milliseconds.
func (r *demoRun) latency(percent float64) float64 {
	return float64(r.clients.latency.ValueAtPercentile(percent)) / 1e3
}

// batch returns the mean number of signatures that were computed together. ok is
// false if there were none.
func (r *demoRun) batch() (mean float64, ok bool) {
	if r.engines == nil || r.engines.multibuffer == nil {
		return 0, false
	}
	s := r.engines.multibuffer.Stats()
	return float64(s.Operations) / float64(s.Batches), s.Batches > 0
}
