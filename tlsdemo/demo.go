package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/jobloop/jobloop/loop"
)

// demoCmd is "tlsdemo" without arguments.
type demoCmd struct {
	Duration   time.Duration `default:"3s" placeholder:"TIME" help:"How long clients connect: 500ms, 10s, 1m (default ${default})."`
	Handshakes int64         `default:"0" placeholder:"N" help:"Stop after so many handshakes (default: no limit)."`
	Clients    int           `default:"64" placeholder:"N" help:"Clients that connect at the same time (default ${default})."`
	Key        keyKind       `default:"rsa2048" placeholder:"KIND" help:"The server's key: rsa2048, rsa3072, rsa4096, ecdsa-p256, ecdsa-p384 or ed25519 (default ${default})."`
}

// Help is the second paragraph of "tlsdemo demo --help".
func (*demoCmd) Help() string {
	return `Makes a certificate in memory, serves TLS on a free port of 127.0.0.1 with one event loop on one thread, and drives it with ordinary TLS clients in the same process, half of them TLS 1.3, half TLS 1.2. Every client verifies the certificate and the answer. Latencies are the clients': from the dial to the end of the handshake, with all the others before and beside it. Handshakes in progress come before new connections, so there are fewer jobs in flight than clients.

Examples:

    tlsdemo
    tlsdemo --duration 10s --clients 500
    tlsdemo --key ecdsa-p256 --handshakes 10000 --duration 1m

Exit status: 0 if every handshake worked, 1 if not.`
}

// Validate finds what makes no sense before anything is started.
func (c *demoCmd) Validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("--duration: %v is not a time to run", c.Duration)
	case c.Clients < 1:
		return fmt.Errorf("--clients: %d, at least 1 is needed", c.Clients)
	case c.Handshakes < 0:
		return fmt.Errorf("--handshakes: %d is less than none", c.Handshakes)
	}
	return nil
}

// Run runs the demo. Its error is nil only if every handshake worked.
func (c *demoCmd) Run(con *console) error {
	l, err := loop.New(loop.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	cert, err := newCertificate(c.Key)
	if err != nil {
		return err
	}
	m := newMeter()
	srv := newServer([]*loop.Loop{l}, &tls.Config{Certificates: []tls.Certificate{*cert}})
	srv.wrap, srv.onHandshake = m.wrap, m.onHandshake
	srv.handshakeTimeout, srv.requestTimeout, srv.idleTimeout = clientTimeout, clientTimeout, clientTimeout
	ln, err := l.Listen("tcp", "127.0.0.1:0", srv)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()

	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	cs := newClients(ln.Addr().String(), c.Clients, c.Handshakes, &tls.Config{RootCAs: roots, ServerName: "localhost"})

	fmt.Fprintf(con.out, "TLS server at %v: one event loop on one thread, key %s\n", ln.Addr(), c.Key)
	fmt.Fprintf(con.out, "%d clients at once, TLS 1.3 and 1.2 in turn, for %v\n", c.Clients, c.Duration)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, c.Duration)
	defer cancel()
	begin := time.Now()
	stopProgress := showProgress(con.out, cs, c.Duration)
	cs.run(ctx)
	elapsed := time.Since(begin)
	stopProgress()

	drain, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := l.Shutdown(drain); err != nil {
		return fmt.Errorf("the server did not stop: %w", err)
	}
	if err := <-ended; err != nil {
		return err
	}
	return summarize(con, cs, m, elapsed)
}

// showProgress draws a bar until the function it returns is called, if out is
// a terminal.
func showProgress(out io.Writer, cs *clients, duration time.Duration) (stop func()) {
	f, ok := out.(*os.File)
	if !ok {
		return func() {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	bar := pb.New64(duration.Milliseconds())
	bar.SetTemplateString(`{{bar .}} {{string . "done"}} handshakes`)
	bar.SetWriter(f).SetMaxWidth(72).Set(pb.CleanOnFinish, true).Set("done", "0").Start()
	begin := time.Now()
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				bar.Set("done", fmt.Sprint(cs.finished.Load()))
				bar.SetCurrent(min(time.Since(begin), duration).Milliseconds())
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
		bar.Finish()
	}
}

// summarize prints what happened. Its error is nil only if all went well.
func summarize(con *console, cs *clients, m *meter, elapsed time.Duration) error {
	worked := cs.latency.TotalCount()
	failed := cs.finished.Load() - worked
	row := func(name, format string, args ...any) {
		fmt.Fprintf(con.out, "  %-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(con.out)
	row("handshakes", "%d verified (TLS 1.3: %d, TLS 1.2: %d), %d failed", worked,
		cs.versions[tls.VersionTLS13], cs.versions[tls.VersionTLS12], failed)
	row("per second", "%.0f", float64(worked)/elapsed.Seconds())
	if worked > 0 {
		var b strings.Builder
		for _, p := range []float64{50, 90, 99} {
			fmt.Fprintf(&b, "p%.0f %s, ", p, milliseconds(cs.latency.ValueAtPercentile(p)))
		}
		row("latency", "%smax %s", &b, milliseconds(cs.latency.Max()))
	}
	row("most jobs in flight", "%d handshakes begun and not finished, of %d clients", m.most, cs.number)
	threads := "unknown: this system does not tell"
	if !m.unknown {
		threads = fmt.Sprint(len(m.threads))
	}
	row("threads that ran jobs", "%s", threads)
	if m.handshakes > 0 {
		row("pauses per handshake", "%.2f", float64(m.pauses)/float64(m.handshakes))
	}
	for _, what := range slices.Sorted(maps.Keys(cs.failures)) {
		fmt.Fprintf(con.err, "tlsdemo: %d times: %s\n", cs.failures[what], what)
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d handshakes failed", failed, worked+failed)
	case worked == 0:
		return errors.New("no handshake was done in time")
	}
	return nil
}

// milliseconds formats microseconds.
func milliseconds(us int64) string { return fmt.Sprintf("%.1f ms", float64(us)/1000) }
