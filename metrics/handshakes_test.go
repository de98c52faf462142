package metrics_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/metrics"
)

// Each outcome of a handshake has its name. Only those that succeed are timed.
func TestResults(t *testing.T) {
	h := metrics.NewHandshakes()
	r := registry(t, h)
	full, resumed := tls.ConnectionState{Version: tls.VersionTLS13}, tls.ConnectionState{Version: tls.VersionTLS12, DidResume: true}
	h.Observe(full, 3*time.Millisecond, nil)
	h.Observe(full, 5*time.Millisecond, nil)
	h.Observe(resumed, time.Millisecond, nil)
	h.Observe(full, time.Hour, errors.New("bad certificate"))
	for _, err := range []error{os.ErrDeadlineExceeded, io.EOF, loop.ErrOverloaded, loop.ErrClientGone, loop.ErrShutdown, io.ErrUnexpectedEOF} {
		h.Observe(tls.ConnectionState{}, time.Hour, fmt.Errorf("handshake: %w", err))
	}
	wantLines(t, scrape(t, r),
		`jobloop_handshakes_total\{result="full",version="1\.3"\} 2`,
		`jobloop_handshakes_total\{result="resumed",version="1\.2"\} 1`,
		`jobloop_handshakes_total\{result="error",version="1\.3"\} 1`,
		`jobloop_handshakes_total\{result="shutdown",version="none"\} 1`,
		`jobloop_handshakes_total\{result="timeout",version="none"\} 1`,
		`jobloop_handshakes_total\{result="closed",version="none"\} 1`,
		`jobloop_handshakes_total\{result="shed",version="none"\} 1`,
		`jobloop_handshakes_total\{result="gone",version="none"\} 1`,
		`jobloop_handshakes_total\{result="error",version="none"\} 1`,
		`jobloop_handshake_seconds_bucket\{le="0\.001"\} 1`,
		`jobloop_handshake_seconds_bucket\{le="0\.004"\} 2`,
		`jobloop_handshake_seconds_count 3`,
		`jobloop_handshake_seconds_sum 0\.009\d*`)
}

// greet serves TLS connections.
func greet(h *metrics.Handshakes) *loop.TLSHandler {
	cert := testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "localhost")
	return &loop.TLSHandler{
		Config:      &tls.Config{Certificates: []tls.Certificate{*cert}},
		OnHandshake: h.OnHandshake,
		Handler: func(_ context.Context, c *loop.TLSConn) error {
			_, err := io.WriteString(c, "hello")
			return err
		},
	}
}

// While clients come on two loops, and when the loops have ended, what is scraped is right.
// The race detector looks on.
func TestWhileServing(t *testing.T) {
	const clients, scrapers = 20, 3
	g, err := loop.NewGroup(2, loop.Config{MaxWait: -1, BlockedAfter: -1})
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	h := metrics.NewHandshakes()
	r := registry(t, h, metrics.Loops(g.Loops()...))
	wantLines(t, scrape(t, r), `jobloop_turns_total\{loop="1"\} 0`) // before they run
	ln, err := g.Listen("tcp", "127.0.0.1:0", greet(h))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()

	stop := make(chan bool)
	var scraping, visiting sync.WaitGroup
	for range scrapers {
		scraping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := r.Gather(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range clients {
		visiting.Go(func() {
			c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	visiting.Wait()
	looptest.ShutDown(t, g)
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
	close(stop)
	scraping.Wait()

	got := scrape(t, r)
	wantLines(t, got,
		fmt.Sprintf(`jobloop_handshakes_total\{result="full",version="1\.3"\} %d`, clients),
		fmt.Sprintf(`jobloop_handshake_seconds_count %d`, clients),
		`jobloop_connections\{loop="0"\} 0`,
		`jobloop_connections\{loop="1"\} 0`,
		`jobloop_pool_size\{loop="1"\} 0`)
	accepted := 0
	for i, l := range g.Loops() {
		n := l.Stats().Accepted
		accepted += int(n)
		wantLines(t, got, fmt.Sprintf(`jobloop_accepted_total\{loop="%d"\} %d`, i, n))
	}
	if accepted != clients {
		t.Errorf("%d accepted, want %d", accepted, clients)
	}
}

// A listener's loops and handshakes can be watched too.
func TestTLSListener(t *testing.T) {
	h := metrics.NewHandshakes()
	cfg := &loop.TLSListenConfig{
		TLS: greet(h).Config, OnHandshake: h.OnHandshake, Loops: 1, Loop: loop.Config{MaxWait: -1, BlockedAfter: -1},
	}
	ln, err := cfg.Listen("tcp", "127.0.0.1:0")
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := registry(t, h, metrics.Loops(ln.Loops()...))
	go io.WriteString(testkit.Dial(t, ln.Addr()), "GET / HTTP/1.1\r\n\r\n")
	client := tls.Client(testkit.Dial(t, ln.Addr()), &tls.Config{InsecureSkipVerify: true})
	go client.Handshake()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.Eventually(t, "both are accepted", func() bool { return ln.Stats().Accepted == 2 })
	failed := `jobloop_handshakes_total{result="error",version="none"} 1`
	testkit.Eventually(t, "one has failed", func() bool { return hasLine(scrape(t, r), failed) })
	wantLines(t, scrape(t, r),
		`jobloop_handshakes_total\{result="full",version="1\.3"\} 1`,
		`jobloop_accepted_total\{loop="0"\} 2`)
}
