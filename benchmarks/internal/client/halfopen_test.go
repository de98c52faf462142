//go:build linux

package client

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/testkit"
)

// relayed returns a target behind a relay, which counts what clients and the server
// send.
func relayed(t *testing.T, target Target, fromClient, fromServer *atomic.Int64) Target {
	t.Helper()
	addr := target.Addr
	target.Addr = serving(t, false, func(c net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		go func() {
			io.Copy(c, io.TeeReader(up, counter{fromServer}))
			c.Close()
		}()
		io.Copy(up, io.TeeReader(c, counter{fromClient}))
	}).Addr
	return target
}

// counter counts bytes.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// While connections are held, they have sent and received what their state says.
// Afterwards each finishes its handshake and makes a request.
func TestHoldHalfOpen(t *testing.T) {
	_, answers := answering(t)
	const n = 20
	whole := int64(0) // bytes of a hello
	for _, state := range []State{HalfHandshake, HalfHello, Connected} {
		var fromClient, fromServer atomic.Int64
		err := Hold(t.Context(), process.AnyCPU, relayed(t, answers, &fromClient, &fromServer), n, state, func() error {
			// What a client has received, the relay has counted.
			sent, flights := int64(0), int64(0)
			switch state {
			case HalfHandshake:
				whole, flights = fromClient.Load()/n, serverFlight
				sent = whole
			case HalfHello:
				sent = whole / 2
				testkit.Eventually(t, "the relay has what the clients sent", func() bool { return fromClient.Load() >= n*sent })
			}
			if got := fromClient.Load(); got > n*(sent+1) || got < n*sent {
				t.Errorf("%s: clients have sent %d bytes, want about %d", state, got, n*sent)
			}
			if got := fromServer.Load(); got < n*flights || flights == 0 && got > 0 {
				t.Errorf("%s: servers have sent %d bytes", state, got)
			}
			return nil
		})
		if err != nil || fromClient.Load() < n*100 || fromServer.Load() < n*serverFlight {
			t.Errorf("%s: %v; %d bytes from clients, %d from servers", state, err, fromClient.Load(), fromServer.Load())
		}
	}
	if whole < 100 {
		t.Errorf("a hello has %d bytes", whole)
	}
}

// A server that has closed a connection meanwhile is found out.
func TestHoldHalfOpenFails(t *testing.T) {
	_, answers := answering(t)
	for state, want := range map[State]string{HalfHello: "after the idle time: connection 0: handshake: ", HalfHandshake: "connection 0: handshake: "} {
		target := serving(t, false, func(c net.Conn) { c.Read(make([]byte, 1024)) })
		target.Echo, target.SHA256 = false, answers.SHA256
		err := Hold(t.Context(), process.AnyCPU, target, 1, state, func() error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", state, err, want)
		}
	}
	err := Hold(t.Context(), process.AnyCPU, serving(t, false, echoing), 1, Connected, func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no handshakes without TLS") {
		t.Errorf("error %v", err)
	}
}
