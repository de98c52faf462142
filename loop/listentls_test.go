package loop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/loop"
)

// listenTLS listens until the test ends. Nothing may be left then.
func listenTLS(t *testing.T, cfg loop.TLSListenConfig) *loop.TLSListener {
	t.Helper()
	testkit.CheckLeaks(t)
	if cfg.TLS == nil {
		cfg.TLS = serverConfig()
	}
	cfg.Loop.Logger = silent()
	cfg.Loop.MaxWait, cfg.Loop.BlockedAfter = -1, -1 // the machine may be busy
	ln, err := cfg.Listen("tcp", "127.0.0.1:0")
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func httpConfig(protocols ...string) *tls.Config {
	cfg := serverConfig().Clone()
	cfg.NextProtos = protocols
	return cfg
}

// net/http serves HTTP/1.1 and HTTP/2 on it, without knowing. Its Shutdown works.
func TestListenTLSForHTTP(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			ln := listenTLS(t, loop.TLSListenConfig{TLS: httpConfig(protocol), Loops: 2})
			server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %d", r.Proto, r.TLS.NegotiatedProtocol, len(b))
			})}
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			transport := &http.Transport{TLSClientConfig: clientConfig(), ForceAttemptHTTP2: protocol == "h2"}
			client := &http.Client{Transport: transport}
			want := map[string]string{"http/1.1": "HTTP/1.1  100000", "h2": "HTTP/2.0 h2 100000"}[protocol]
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := client.Post("https://"+ln.Addr().String(), "text/plain", &io.LimitedReader{R: zeros{}, N: 100000})
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if b, err := io.ReadAll(resp.Body); string(b) != want || err != nil {
						t.Errorf("%q, %v, want %q", b, err, want)
					}
				})
			}
			wg.Wait()
			transport.CloseIdleConnections()
			if err := server.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := testkit.Receive(t, served); err != http.ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Clients that do not finish their handshake cost no goroutine, and are no concern of
// Accept.
func TestListenTLSHalfOpen(t *testing.T) {
	var mu sync.Mutex
	failed := 0
	ln := listenTLS(t, loop.TLSListenConfig{Loops: 1, HandshakeTimeout: -1, OnHandshake: func(_ *loop.TLSConn, _ time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed++
		}
	}})
	visit := func() {
		t.Helper()
		client := tls.Client(testkit.Dial(t, ln.Addr()), clientConfig())
		shaken := make(chan error, 1)
		go func() { shaken <- client.Handshake() }()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if !c.(*tls.Conn).ConnectionState().HandshakeComplete {
			t.Error("the handshake is not complete")
		}
		if err := testkit.Receive(t, shaken); err != nil {
			t.Error(err)
		}
		c.Close()
		client.Close()
	}
	visit()
	// Jobs are coroutines, which count as goroutines here.
	others := func() int { return runtime.NumGoroutine() - int(ln.Stats().PoolSize) }
	before := others()
	var halves []net.Conn
	for i := range 200 {
		c := testkit.Dial(t, ln.Addr())
		if i%2 == 0 {
			send(t, c, "\x16\x03\x01") // a hello begins
		}
		halves = append(halves, c)
	}
	garbage := testkit.Dial(t, ln.Addr())
	send(t, garbage, "GET / HTTP/1.1\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(garbage), nil); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP without TLS: %v, %v", resp, err)
	}
	testkit.Eventually(t, "all connections are accepted", func() bool { return ln.Stats().Accepted == 202 })
	testkit.Eventually(t, "the garbage is refused", func() bool { mu.Lock(); defer mu.Unlock(); return failed == 1 })
	testkit.Eventually(t, "there are no goroutines but jobs", func() bool { return others() <= before })
	visit()
	for _, c := range halves {
		c.Close()
	}
}

// More connections than may be pending wait on the loop, and none is lost.
func TestListenTLSPending(t *testing.T) {
	ln := listenTLS(t, loop.TLSListenConfig{MaxPending: 2, Loops: 2})
	const clients = 20
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := tls.Dial("tcp", ln.Addr().String(), clientConfig())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			echoes(t, c, fmt.Append(nil, "client ", i))
		})
	}
	// All handshakes are done before the first Accept.
	testkit.Eventually(t, "18 jobs wait for a place", func() bool {
		s := ln.Stats()
		return s.Conns == clients-2 && s.JobsPaused == clients-2
	})
	for range clients {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			io.Copy(c, c)
		})
	}
	wg.Wait()
}

// The loops are those that serve. Their counts stay when they have ended.
func TestListenTLSLoops(t *testing.T) {
	ln := listenTLS(t, loop.TLSListenConfig{Loops: 2})
	if n := len(ln.Loops()); n != 2 {
		t.Fatalf("%d loops, want 2", n)
	}
	const clients = 10
	for range clients {
		client := tls.Client(testkit.Dial(t, ln.Addr()), clientConfig())
		go client.Handshake()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	var sum loop.Stats
	for _, l := range ln.Loops() {
		sum.Add(l.Stats())
	}
	if sum.Accepted != clients || sum != ln.Stats() {
		t.Errorf("the loops have accepted %d of %d connections; %+v, want %+v", sum.Accepted, clients, sum, ln.Stats())
	}
}

// A client that leaves while its connection waits gives its place back.
func TestListenTLSClientLeaves(t *testing.T) {
	ln := listenTLS(t, loop.TLSListenConfig{MaxPending: 1, Loops: 1})
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", ln.Addr().String(), clientConfig())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial()
	defer first.Close()
	testkit.Eventually(t, "one is pending", func() bool { s := ln.Stats(); return s.Accepted == 1 && s.Conns == 0 })
	for range 3 {
		testkit.Reset(dial().NetConn())
	}
	testkit.Eventually(t, "the others are gone", func() bool { s := ln.Stats(); return s.Accepted == 4 && s.Conns == 0 && s.JobsPaused == 0 })
	last := dial()
	defer last.Close()
	for range 2 {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// A hook that ends the goroutine while a connection leaves its loop costs that
// connection, and neither a place nor a descriptor.
func TestListenTLSHookEnds(t *testing.T) {
	calls := 0
	ln := listenTLS(t, loop.TLSListenConfig{MaxPending: 1, Loops: 1, Loop: loop.Config{Closed: func(net.Addr) {
		if calls++; calls <= 2 {
			runtime.Goexit()
		}
	}}})
	for range 2 {
		c, err := tls.Dial("tcp", ln.Addr().String(), clientConfig())
		if err == nil {
			if _, err = c.Read(make([]byte, 1)); err == nil {
				t.Error("the client reads something")
			}
			c.Close()
		}
	}
	client := tls.Client(testkit.Dial(t, ln.Addr()), clientConfig())
	defer client.Close()
	go client.Handshake()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Close serves those who have connected, and then ends. What nobody accepts is closed.
func TestListenTLSClose(t *testing.T) {
	ln := listenTLS(t, loop.TLSListenConfig{DrainTimeout: time.Minute, MaxPending: 1})
	const clients = 10
	var wg sync.WaitGroup
	for range clients {
		raw := testkit.Dial(t, ln.Addr())
		wg.Go(func() {
			c := tls.Client(raw, clientConfig())
			defer c.Close()
			echoes(t, c, []byte("served"))
		})
	}
	testkit.Eventually(t, "all have connected", func() bool { return ln.Stats().Accepted == clients })
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	testkit.WantErr(t, ln.Close(), net.ErrClosed)
	for n := 0; ; n++ {
		c, err := ln.Accept()
		if err != nil {
			testkit.WantErr(t, err, net.ErrClosed)
			if n != clients {
				t.Errorf("%d connections, want %d", n, clients)
			}
			break
		}
		wg.Go(func() {
			defer c.Close()
			io.Copy(c, c)
		})
	}
	wg.Wait()

	ln = listenTLS(t, loop.TLSListenConfig{DrainTimeout: -1})
	c, err := tls.Dial("tcp", ln.Addr().String(), clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ln.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the client reads something")
	}
	if c, err := ln.Accept(); err == nil {
		c.Close()
	}
}

// Accept's error after Close is net.ErrClosed, and a client that has just connected is
// served, however soon Close comes. On a busy machine the kernel may not have the client's
// last packet yet; then it is reset.
func TestListenTLSCloseAtOnce(t *testing.T) {
	served := 0
	for range 20 {
		ln := listenTLS(t, loop.TLSListenConfig{DrainTimeout: time.Minute})
		raw := testkit.Dial(t, ln.Addr())
		shaken := make(chan error, 1)
		go func() { shaken <- tls.Client(raw, clientConfig()).Handshake() }()
		ln.Close()
		c, err := ln.Accept()
		if err == nil {
			served++
			c.Close()
			_, err = ln.Accept()
		}
		testkit.WantErr(t, err, net.ErrClosed)
		if err := testkit.Receive(t, shaken); (err == nil) != (c != nil) {
			t.Errorf("the client's handshake: %v, accepted: %t", err, c != nil)
		}
	}
	if served < 10 {
		t.Errorf("%d of 20 clients were served", served)
	}
}

func TestListenTLSInvalid(t *testing.T) {
	testkit.CheckLeaks(t)
	for what, cfg := range map[string]loop.TLSListenConfig{
		"no TLS":     {},
		"no cert":    {TLS: &tls.Config{}},
		"loops":      {TLS: serverConfig(), Loops: -1},
		"pending":    {TLS: serverConfig(), MaxPending: -1},
		"the loop's": {TLS: serverConfig(), Loop: loop.Config{MaxJobs: -1}},
	} {
		if _, err := cfg.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, loop.ErrInvalidConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := loop.ListenTLS("tcp", "127.0.0.1:nothing", serverConfig()); err == nil {
		t.Error("listens at no port")
	}
}
