//go:build linux

package client

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process/proctest"
)

// The test binary is also the clients: those are started with a command, tests
// with flags.
func TestMain(m *testing.M) {
	os.Exit(proctest.Main(m, &struct {
		EchoClient      Echo       `cmd:""`
		GoroutineClient Goroutines `cmd:""`
		IdleClient      Idle       `cmd:""`
		Probe           Probe      `cmd:""`
	}{}))
}

// answering starts a server that answers requests over TLS.
func answering(t *testing.T) (*httptest.Server, Target) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, Target{Addr: s.Listener.Addr().String(), SHA256: fmt.Sprintf("%x", sha256.Sum256(s.Certificate().Raw))}
}

// serving calls f for each connection, with TLS or without.
func serving(t *testing.T, over bool, f func(net.Conn)) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Addr: ln.Addr().String(), Echo: true}
	if over {
		s, like := answering(t)
		target.SHA256 = like.SHA256
		ln = tls.NewListener(ln, &tls.Config{Certificates: s.TLS.Certificates})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return target
}

// echoing sends back what comes.
func echoing(c net.Conn) { io.Copy(c, c) }

// requests reads so many.
func requests(c net.Conn, n int) error {
	r := bufio.NewReader(c)
	for range n {
		if _, err := http.ReadRequest(r); err != nil {
			return err
		}
	}
	return nil
}
