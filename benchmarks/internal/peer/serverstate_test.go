//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/engine/multibuffer"
)

// A connection is open until it is closed, however often that is done.
func TestOpenConnections(t *testing.T) {
	s := &Serve{Options: Options{Metrics: true}}
	ln, err := s.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	want := func(open float64) {
		t.Helper()
		if got, ok := s.state()[Connections]; !ok || got != open {
			t.Errorf("%v open connections, %t, want %v", got, ok, open)
		}
	}
	want(0)
	var conns []net.Conn
	for i := range 3 {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		want(float64(i + 1))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { conns[0].Close() })
	}
	wg.Wait()
	want(2)
	conns[1].Close()
	want(1)
	ln.Close()
	if _, err := ln.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	want(1)
	conns[2].Close()
	want(0)
	if got := s.counts.connections.Load(); got != 3 {
		t.Errorf("%d connections accepted, want 3", got)
	}
}

// What a goroutine leaves behind is seen, and only servers with an engine tell what
// it has done.
func TestServeState(t *testing.T) {
	s := new(Serve)
	if _, ok := s.state()[Operations]; ok {
		t.Error("operations without an engine")
	}
	const n = 100
	end := make(chan struct{})
	for range n {
		go func() { <-end }()
	}
	if got := s.state()[Goroutines]; got < n {
		t.Errorf("%v goroutines, want at least %d", got, n)
	}
	close(end)
	s.engine.Store(new(multibuffer.Engine))
	for _, name := range []string{Operations, Batches, Fallbacks, Unbound} {
		if v, ok := s.state()[name]; !ok || v != 0 {
			t.Errorf("%s: %v, %t", name, v, ok)
		}
	}
}

// Every server that tells its state tells what its clients made of it.
func TestPeersState(t *testing.T) {
	const clients = 20 // more goroutines than the server has without
	for _, name := range Names(HTTPS) {
		t.Run(name, func(t *testing.T) {
			p := peers[name]
			o := options(t, keyFor(t, p))
			o.Metrics = true
			err := With(t.Context(), p, o, func(s *Server) error {
				if s.State == nil {
					if _, inGo := p.(*goPeer); inGo || p.Ours() {
						t.Error("it does not tell its state")
					}
					return nil
				}
				var conns []net.Conn
				for range clients {
					c := dialTLS(t, s.Addr, tls.VersionTLS13, nil)
					defer c.Close()
					conns = append(conns, c)
					if err := ask(c, 1); err != nil {
						return err
					}
				}
				m, err := s.State(t.Context())
				if err != nil {
					return err
				}
				if m[Connections] != clients {
					t.Errorf("%v connections, want %v", m[Connections], clients)
				}
				eachItsOwn := strings.HasPrefix(name, "goroutines") || strings.HasPrefix(name, "nethttp")
				if g := m[Goroutines]; g == 0 || eachItsOwn && g <= clients {
					t.Errorf("%v goroutines", g)
				}
				if n, ok := m[JobsStarted]; ok != (name == "jobloop" || strings.HasPrefix(name, "jobloop-")) || ok && n < clients {
					t.Errorf("%v jobs started, %t", n, ok)
				}
				engine := strings.Contains(name, "-multibuffer")
				if n, ok := m[Operations]; ok != (engine || name == "jobloop-offload") || ok && n != clients {
					t.Errorf("%v operations, %t", n, ok)
				}
				if n, ok := m[Batches]; ok != engine || ok && n == 0 {
					t.Errorf("%v batches, %t", n, ok)
				}
				if m[Fallbacks] != 0 || m[Unbound] != 0 {
					t.Errorf("%v fallbacks, %v unbound", m[Fallbacks], m[Unbound])
				}
				for _, c := range conns {
					c.Close()
				}
				ctx, cancel := context.WithTimeout(t.Context(), client.IOTimeout)
				defer cancel()
				for m[Connections] > 0 { // the server has yet to find out
					if m, err = s.State(ctx); err != nil {
						return fmt.Errorf("waiting for the connections to end: %w", err)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A metric that is missing is an error, because it would look like 0.
func TestJobloopState(t *testing.T) {
	all := func(engine string) map[string]float64 {
		m := make(map[string]float64)
		for _, names := range []map[string]string{jobloopMetrics, engineMetrics[engine]} {
			for _, metric := range names {
				m[metric] = 7
			}
		}
		return m
	}
	for _, engine := range []string{"none", "offload", "multibuffer"} {
		m := all(engine)
		m["jobloop_jobs_started_total"] = 9
		s, err := jobloopState(m, engine)
		if err != nil || s[JobsAlive] != 2 || s[Connections] != 7 || len(s) != 8+len(engineMetrics[engine]) {
			t.Errorf("%s: %v, %v", engine, s, err)
		}
		for metric := range m {
			m := all(engine)
			delete(m, metric)
			if _, err := jobloopState(m, engine); err == nil || !strings.Contains(err.Error(), metric) {
				t.Errorf("%s without %s: error %v", engine, metric, err)
			}
		}
	}
}
