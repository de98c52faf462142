//go:build linux

package client

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
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
	perConnection := make(map[State]int64) // that clients have sent
	for _, state := range []State{Connected, HalfHello, HalfHandshake} {
		var fromClient, fromServer atomic.Int64
		err := Hold(t.Context(), process.AnyCPU, relayed(t, answers, &fromClient, &fromServer), n, state, func() error {
			for sent := int64(-1); sent != fromClient.Load(); time.Sleep(100 * time.Millisecond) { // until the relay has all
				sent = fromClient.Load()
			}
			perConnection[state] = fromClient.Load() / n
			if got := fromServer.Load(); (got >= n*serverFlight) != (state == HalfHandshake) || state != HalfHandshake && got != 0 {
				t.Errorf("%s: servers have sent %d bytes", state, got)
			}
			return nil
		})
		if err != nil || fromClient.Load() < n*100 || fromServer.Load() < n*serverFlight {
			t.Errorf("%s: %v; %d bytes from clients, %d from servers", state, err, fromClient.Load(), fromServer.Load())
		}
	}
	if p := perConnection; p[Connected] != 0 || p[HalfHello] < 50 || p[HalfHandshake] < 2*p[HalfHello] || p[HalfHandshake] > 2*p[HalfHello]+2 {
		t.Errorf("bytes that each client has sent: %v", p)
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
