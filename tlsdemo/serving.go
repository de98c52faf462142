package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/metrics"
)

// serving is a "tlsdemo serve" from its start to its end. Its main goroutine obeys
// signals and must not block: files may be pipes that nobody writes, names may take
// long to resolve, and nobody may read the output. So all that happens on other
// goroutines.
type serving struct {
	*serveCmd
	con    *console
	log    *slog.Logger
	stop   <-chan os.Signal // SIGINT and SIGTERM
	hangup <-chan os.Signal // SIGHUP, of which one is as good as many
	hup    bool             // there was a SIGHUP that is still to be obeyed

	certs     *certSource
	answers   *responder
	srv       frontend
	scraped   *http.Server // nil: no metrics
	scrape    string       // line of output about it
	addr      net.Addr
	reloading chan error // nil: not in progress
}

// Run serves until a signal stops it.
func (c *serveCmd) Run(con *console) error {
	stop, hangup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(hangup, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // or a line that nobody reads would end the process
	s := &serving{serveCmd: c, con: con, stop: stop, hangup: hangup}
	var flush func()
	s.log, flush = c.logger(con.err)
	con.unblock()
	err := s.run()
	if err != errSecondSignal {
		flush()
	}
	return err
}

var errSecondSignal = errors.New("second signal: exiting at once")

// logger returns the server's logger, and a function that waits for what was logged.
// Loops have a queue of their own.
func (c *serveCmd) logger(w io.Writer) (_ *slog.Logger, flush func()) {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	h := slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	if !c.Goroutines {
		return slog.New(h), func() {}
	}
	q := logqueue.New(h)
	return slog.New(q), func() { q.Queue().Flush(context.Background(), logqueue.Patience) }
}

func (s *serving) run() error {
	if stopped, err := s.await(s.prepare); stopped || err != nil {
		return err
	}
	if network, _, _ := splitAddr(s.Addr); network == "unix" {
		// This takes half a second at most, and must not be in progress when the process
		// ends: a socket file would stay.
		if err := s.listen(); err != nil {
			return err
		}
	} else if stopped, err := s.await(s.listen); stopped || err != nil {
		return err
	}
	defer s.close()
	ended := make(chan error, 1)
	go func() { ended <- s.srv.run() }()
	s.announce()
	if s.hup && !s.certs.inMemory() {
		s.reload()
	}
	for {
		select {
		case err := <-ended:
			return err
		case err := <-s.reloading:
			s.reloaded(err)
		case <-s.stop:
			s.srv.stopAccepting()
			s.answers.closing.Store(true)
			return s.drain()
		case <-s.hangup:
			s.reload()
		}
	}
}

// await calls f, which is part of the start. stopped says that a signal has come that
// ends the process; f may still be in progress then.
func (s *serving) await(f func() error) (stopped bool, err error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return false, err
		case <-s.hangup:
			s.hup = true // the files may have been read already
		case <-s.stop:
			fmt.Fprintln(s.con.out, "stopping: nothing was served yet")
			return true, nil
		}
	}
}

// prepare does all that comes before the server listens. It may take long, or for
// ever if files are pipes.
func (s *serving) prepare() error {
	kind := s.Key
	if kind == "" {
		kind = defaultKey
	}
	opts := engineOptions{kind: s.Engine, workers: s.EngineWorkers, worker: s.EngineOnWorker, loops: s.loops()}
	var m *serveMetrics
	if s.Metrics != "" {
		m = newServeMetrics()
		opts.onSign, opts.onBatch, opts.onOperation = m.onSign, m.batches.OnBatch, m.operations.OnOperation
	}
	engines, err := newEngines(opts)
	if err != nil {
		return err
	}
	if s.certs, err = newCertSource(s.Cert, s.Keyfile, kind, engines); err != nil {
		return err
	}
	s.answers = &responder{requestTimeout: s.RequestTimeout, idleTimeout: s.IdleTimeout}
	onHandshake := func(tlsConn, time.Duration, error) {}
	if m != nil {
		onHandshake, s.answers.onResponse = m.onHandshake, m.onResponse
	}
	config := &tls.Config{GetCertificate: engine.GetCertificate(s.certs.get), MinVersion: s.tlsMin()}
	if s.Goroutines {
		s.srv = newGoroutineServer(s.answers, config, s.HandshakeTimeout, onHandshake, s.log)
	} else {
		loops, err := newLoopServer(s.serveCmd, s.answers, config, onHandshake, s.log)
		if err != nil {
			return err
		}
		if m != nil {
			m.registry.MustRegister(metrics.Loops(loops.group.Loops()...))
		}
		s.srv = loops
	}
	if m != nil {
		m.watch(engines)
		m.errorLog = log.New(s.con.err, "tlsdemo: metrics: ", 0)
		var addr net.Addr
		if s.scraped, addr, err = m.serve(s.Metrics, s.Pprof); err != nil {
			s.srv.close()
			return err
		}
		s.scrape = fmt.Sprintf("metrics at http://%v/metrics\n", addr)
	}
	return nil
}

// listen begins to accept connections.
func (s *serving) listen() (err error) {
	if s.addr, err = s.srv.listen(s.Addr); err != nil {
		s.close()
	}
	return err
}

// close ends the server at once. It does not wait.
func (s *serving) close() {
	s.srv.close()
	if s.scraped != nil {
		s.scraped.Close()
	}
}

// announce prints the first line of output.
func (s *serving) announce() {
	what := "certificate " + s.Cert
	if s.certs.inMemory() {
		kind := s.Key
		if kind == "" {
			kind = defaultKey
		}
		what = string(kind) + " certificate made in memory"
	}
	scheme := "https://"
	if s.addr.Network() == "unix" {
		scheme = "unix:"
	}
	warnEngine(s.con, s.Engine, s.certs.engine())
	fmt.Fprintf(s.con.out, "serving %s%v (%v, %s); engine: %v\n%s", scheme, s.addr, s.srv, what, s.certs.engine(), s.scrape)
}

// reload begins to do what SIGHUP asks for.
func (s *serving) reload() {
	s.hup = false
	switch {
	case s.certs.inMemory():
		fmt.Fprintln(s.con.err, "tlsdemo: nothing to reload: the certificate was made in memory")
	case s.reloading != nil: // the files may have been read before they were changed
		s.hup = true
		fmt.Fprintln(s.con.err, "tlsdemo: the certificate is still being read; it will be read again after that")
	default:
		done := make(chan error, 1)
		s.reloading = done
		go func() { done <- s.certs.reload() }()
	}
}

// reloaded is called when the files have been read.
func (s *serving) reloaded(err error) {
	s.reloading = nil
	if err != nil {
		fmt.Fprintf(s.con.err, "tlsdemo: not reloaded, still using the old certificate: %v\n", err)
	} else {
		warnEngine(s.con, s.Engine, s.certs.engine())
		fmt.Fprintf(s.con.out, "reloaded certificate %s; engine: %v\n", s.certs.certFile, s.certs.engine())
	}
	if s.hup {
		s.reload()
	}
}

// lastCall is how long idle connections stay open after the signal. A request that
// comes in this time is answered, with "Connection: close". Without lastCall, a
// client that sends a request at the moment of the signal would find its connection
// closed.
const lastCall = 250 * time.Millisecond

// drain waits until the requests in progress have ended, the time for that is up, or
// a second signal comes.
func (s *serving) drain() error {
	fmt.Fprintf(s.con.out, "stopping: requests have %v to end; a second signal exits at once\n", s.DrainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), s.DrainTimeout)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		if s.srv.conns() > 0 {
			time.Sleep(min(lastCall, s.DrainTimeout))
		}
		drained <- s.srv.shutdown(ctx)
	}()
	select {
	case err := <-drained:
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("requests were cut off: they took longer than %v", s.DrainTimeout)
		}
		return err
	case <-s.stop:
		return errSecondSignal
	}
}
