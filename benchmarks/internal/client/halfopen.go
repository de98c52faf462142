//go:build linux

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// State is how far connections have come when they become idle.
type State string

const (
	Established   State = "established"    // the handshake is done, and each was used once
	HalfHandshake State = "half-handshake" // the client has the server's flight and has not sent the end of the handshake
	HalfHello     State = "half-hello"     // half of the client's hello was sent
	Connected     State = "connected"      // nothing was sent
)

// stops says at which write of its handshake a client stops, the first being 1, and
// whether it sends half of that write before. A client of TLS 1.3 writes twice: its
// hello, and after the whole flight of the server the end of the handshake.
var stops = map[State]struct {
	write int
	half  bool
}{
	HalfHandshake: {write: 2},
	HalfHello:     {write: 1, half: true},
	Connected:     {write: 1},
}

// halfOpen is a connection whose handshake stops until finish.
type halfOpen struct {
	net.Conn // the transport
	state    State
	writes   int
	tls      *tls.Conn
	stopped  chan struct{} // closed when it has stopped
	goOn     chan struct{} // closed when it shall go on
	done     chan error    // gets how the handshake has ended
}

// dialHalf connects to the server and goes on to the state.
func (t Target) dialHalf(ctx context.Context, d *net.Dialer, state State) (*halfOpen, error) {
	if t.SHA256 == "" {
		return nil, errors.New("there are no handshakes without TLS")
	}
	c, err := dial(ctx, d, t.Addr)
	if err != nil {
		return nil, err
	}
	h := &halfOpen{Conn: c, state: state, stopped: make(chan struct{}), goOn: make(chan struct{}), done: make(chan error, 1)}
	h.tls = tls.Client(h, config)
	go func() { h.done <- h.tls.Handshake() }()
	select {
	case <-h.stopped:
		return h, nil
	case err := <-h.done:
		c.Close()
		if err == nil {
			err = errors.New("it has not stopped")
		}
		return nil, fmt.Errorf("handshake: %w", err)
	}
}

// Write is called by the handshake, on its goroutine.
func (h *halfOpen) Write(p []byte) (int, error) {
	h.writes++
	stop := stops[h.state]
	if h.writes != stop.write {
		return h.Conn.Write(p)
	}
	n := 0
	if stop.half {
		var err error
		if n, err = h.Conn.Write(p[:len(p)/2]); err != nil {
			return n, err
		}
	}
	close(h.stopped)
	<-h.goOn
	m, err := h.Conn.Write(p[n:])
	return n + m, err
}

// finish makes the rest of the handshake, and checks it as Dial does.
func (h *halfOpen) finish(t Target) error {
	close(h.goOn)
	err := <-h.done
	if err == nil {
		err = t.check(h.tls.ConnectionState())
	}
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	return nil
}
