//go:build linux

package client

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

func echoArgs(t Target, more ...string) []string {
	return append(append([]string{"echo-client"}, t.Args()...), more...)
}

// The process counts messages that came back, with TLS and without.
func TestEcho(t *testing.T) {
	for _, over := range []bool{false, true} {
		var r EchoResult
		err := process.RunSelf(t.Context(), process.AnyCPU, &r, echoArgs(serving(t, over, echoing), "--connections", "2", "--size", "512", "--warmup", "1ms", "--duration", "200ms")...)
		if err != nil || r.Messages == 0 || r.CPU <= 0 || !r.End.After(r.Begin) {
			t.Errorf("with TLS: %t: %+v, %v", over, r, err)
		}
	}
}

// The client finds an echo that is not what it has sent.
func TestEchoIsCompared(t *testing.T) {
	target := serving(t, false, func(c net.Conn) {
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
	})
	e := &Echo{Target: target, Connections: 2, Size: 512, Duration: time.Hour}
	if _, err := e.measure(t.Context()); err == nil || !strings.Contains(err.Error(), "echo 3 differs from what was sent, from byte 300 of 512 on") {
		t.Errorf("error %v", err)
	}
}

// A connection that ends is an error, and ends the measurement.
func TestEchoEnds(t *testing.T) {
	target := serving(t, false, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 100))
		c.Write(make([]byte, 3))
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	})
	e := &Echo{Target: target, Connections: 1, Size: 100, Duration: time.Hour}
	if _, err := e.measure(t.Context()); err == nil || !strings.Contains(err.Error(), "connection 0: echo 1, after 3 bytes: unexpected EOF") {
		t.Errorf("error %v", err)
	}
}
