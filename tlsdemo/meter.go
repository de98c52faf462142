package main

import (
	"crypto"
	"crypto/tls"
	"errors"
	"net"

	"github.com/jobloop/jobloop/loop"
)

// meter watches the handshakes of the demo's server from inside their jobs. It
// belongs to the one loop: others read it when that has ended.
type meter struct {
	threads    map[int]bool // that jobs have run on, by the kernel's numbers
	unknown    bool         // there are no such numbers here
	inFlight   int          // handshakes begun and not finished
	most       int
	pauses     int
	handshakes int // finished, successfully or not
}

func newMeter() *meter { return &meter{threads: make(map[int]bool)} }

// wrap is called when a connection's handshake begins.
func (m *meter) wrap(c *loop.Conn) net.Conn {
	m.inFlight++
	m.most = max(m.most, m.inFlight)
	m.thread()
	return &meteredConn{Conn: c, m: m}
}

// onHandshake is called when it has ended.
func (m *meter) onHandshake(h handshake) {
	h.conn.(*meteredConn).done = true
	m.inFlight--
	m.handshakes++
	m.thread()
}

// watchKey returns cert's key, and counts the pauses in its signatures. A job
// that pauses goes on in another turn of the loop.
func (m *meter) watchKey(l *loop.Loop, cert *tls.Certificate) crypto.Signer {
	return &watchedKey{cert.PrivateKey.(crypto.Signer), func() func() {
		turn := l.Stats().Turns
		return func() {
			if l.Stats().Turns != turn {
				m.pauses++
			}
			m.thread() // the one it was resumed on
		}
	}}
}

// thread notes which thread the caller is on.
func (m *meter) thread() {
	id, ok := threadID()
	if !ok {
		m.unknown = true
		return
	}
	m.threads[id] = true
}

// meteredConn is what crypto/tls reads from.
type meteredConn struct {
	*loop.Conn
	m    *meter
	done bool // the handshake is over
}

// Read reads, and counts the pauses of the handshake: it first tries without
// one. (What a handshake writes fits the socket's buffer: there it does not
// pause.)
func (c *meteredConn) Read(p []byte) (int, error) {
	if c.done {
		return c.Conn.Read(p)
	}
	c.SetReadNonblock(true)
	n, err := c.Conn.Read(p)
	c.SetReadNonblock(false)
	if !errors.Is(err, loop.ErrWouldBlock) {
		return n, err
	}
	c.m.pauses++
	n, err = c.Conn.Read(p)
	c.m.thread() // the one it was resumed on
	return n, err
}
