//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

func newTestCertificate(t *testing.T) *certificate {
	t.Helper()
	cert, err := newCertificate(t.TempDir(), keyECDSA)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Each server echoes, frees memory when it is told to, and ends with its counts.
func TestServers(t *testing.T) {
	cert := newTestCertificate(t)
	for _, name := range []string{nameGnetjobs, nameJob, nameGoroutines, nameGnet} {
		t.Run(name, func(t *testing.T) {
			m := &measure{ServerCPU: bench.AnyCPU}
			err := m.with(t.Context(), name, cert, smallBuffer, func(s *server) (int64, error) {
				if !strings.HasPrefix(s.addr, "127.0.0.1:") {
					t.Errorf("it listens at %s", s.addr)
				}
				c, err := s.target(cert).dial(t.Context())
				if err != nil {
					return 0, err
				}
				defer c.Close()
				e := newEchoer(c, 100_000)
				for range 3 {
					if err := e.exchange(); err != nil {
						return 0, err
					}
				}
				if line, err := s.tell(tellFree); err != nil || !line.Freed {
					t.Errorf("told to free memory, it said %+v, %v", line, err)
				}
				if hasTLS(name) {
					return 1, nil
				}
				return 0, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A client that reaches another server than it was sent to must not measure it.
func TestOtherCertificate(t *testing.T) {
	cert, other := newTestCertificate(t), newTestCertificate(t)
	m := &measure{ServerCPU: bench.AnyCPU}
	err := m.with(t.Context(), nameGoroutines, cert, smallBuffer, func(s *server) (int64, error) {
		_, err := s.target(other).dial(t.Context())
		return 0, err
	})
	if err == nil || !strings.Contains(err.Error(), "another server's certificate") {
		t.Errorf("error %v", err)
	}
}

// Why a server does not start is what it writes to standard error.
func TestServerDoesNotStart(t *testing.T) {
	_, err := startServer(t.Context(), nameGoroutines, &certificate{certFile: "/nonexistent/cert", keyFile: "/nonexistent/key"}, smallBuffer, bench.AnyCPU)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/cert") {
		t.Errorf("error %v", err)
	}
}

// A server that dies while it is measured spoils the measurement.
func TestServerDies(t *testing.T) {
	s, err := startServer(t.Context(), nameGnet, nil, smallBuffer, bench.AnyCPU)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(0); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
}

func TestCounts(t *testing.T) {
	var c counter
	c.add(nil)
	c.add(nil)
	if err := c.get().check("x", 2); err != nil {
		t.Error(err)
	}
	if err := c.get().check("x", 3); err == nil || !strings.Contains(err.Error(), "2 handshakes, its clients 3") {
		t.Errorf("error %v", err)
	}
	c.add(errors.New("first"))
	c.add(errors.New("second"))
	if err := c.get().check("x", 2); err == nil || !strings.Contains(err.Error(), "2 handshakes failed, the first: first") {
		t.Errorf("error %v", err)
	}
}

func TestObey(t *testing.T) {
	var out strings.Builder
	if err := obey(strings.NewReader("free\nfree\n"), json.NewEncoder(&out)); err != nil || out.String() != strings.Repeat("{\"freed\":true}\n", 2) {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := obey(strings.NewReader("fly\n"), json.NewEncoder(io.Discard)); err == nil {
		t.Error("no error of an order it does not know")
	}
}

// The client finds an echo that is not what it has sent.
func TestEchoIsCompared(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 512)
				for n := 0; ; n++ {
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					if n == 2 {
						b[300]++
					}
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	e := &echoClient{target: target{Addr: ln.Addr().String()}, watched: watched{PID: os.Getpid(), Core: bench.AnyCPU}, Connections: 2, Size: 512, Duration: time.Minute}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := e.measure(ctx); err == nil || !strings.Contains(err.Error(), "echo 3 differs from what was sent, from byte 300 of 512 on") {
		t.Errorf("error %v", err)
	}
}
