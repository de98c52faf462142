//go:build linux

package client

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"
)

// The test binary is also the clients: those are started with a command, tests
// with flags.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		var commands struct {
			EchoClient      Echo       `cmd:""`
			GoroutineClient Goroutines `cmd:""`
			IdleClient      Idle       `cmd:""`
			Probe           Probe      `cmd:""`
		}
		k := kong.Parse(&commands, kong.BindTo(context.Background(), (*context.Context)(nil)))
		k.FatalIfErrorf(k.Run())
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // else each process takes a second to end, with the race detector
	code := m.Run()
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		fmt.Fprintln(os.Stderr, "the tests have left a process")
		code = 1
	}
	os.Exit(code)
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
