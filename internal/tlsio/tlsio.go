// Package tlsio runs crypto/tls so that it never waits once the handshake is
// done.
//
// crypto/tls holds a mutex while it writes, and another while it reads. Over a
// connection that makes its caller wait, as an event loop's does by pausing the
// job, a job can so come to hold a mutex that another job of the same thread
// wants: to answer a KeyUpdate, or to send an alert, a reader needs the mutex
// of the writer. The thread would block for ever. So waiting is done above
// crypto/tls, by those who use this package: package loop and gnetjobs.
//
// A [Conn] reads from its [Transport] what has arrived, and says ErrWouldBlock
// if that makes no plaintext. What is written becomes records in memory, which
// the caller sends as the peer takes them. What crypto/tls has to say by
// itself is queued behind.
package tlsio

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// ErrWouldBlock says that an operation would have to wait. Being temporary, it
// leaves a tls.Conn as it was: crypto/tls reads on later.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// Transport carries the records of a Conn.
type Transport interface {
	// Read and Write are a net.Conn's. They are called during the handshake, and
	// may wait.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// Close is called only if the context of the handshake ends, from another
	// goroutine.
	Close() error

	// NetConn returns the plain connection, to code that has the Conn of a
	// tls.ClientHelloInfo.
	NetConn() net.Conn

	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// ReadNow reads what has arrived. It returns ErrWouldBlock if there is
	// nothing.
	ReadNow(p []byte) (int, error)

	// Queue sends p after all that was sent before, without waiting, and without
	// keeping p.
	Queue(p []byte) error
}

// SealSize is how much is made into records at a time, at most. crypto/tls would
// write each record by itself, of which the first are of little more than a
// kilobyte.
const SealSize = 64 << 10

// Conn is a TLS connection that does not wait. It belongs to one goroutine at a
// time. The zero Conn is made ready by Server or Client.
type Conn struct {
	tls  *tls.Conn
	wire wire
}

// Server makes c the server's side of a connection.
func (c *Conn) Server(t Transport, cfg *tls.Config) {
	c.wire.Transport = t
	c.tls = tls.Server(&c.wire, cfg)
}

// Client makes c the client's side of a connection. TLS 1.2 renegotiation is
// refused: it would be a handshake in the middle of a Read.
func (c *Conn) Client(t Transport, cfg *tls.Config) {
	c.wire.Transport = t
	c.tls = tls.Client(&c.wire, WithoutRenegotiation(cfg))
}

// WithoutRenegotiation returns cfg, or a copy that refuses renegotiation.
func WithoutRenegotiation(cfg *tls.Config) *tls.Config {
	if cfg.Renegotiation != tls.RenegotiateNever {
		cfg = cfg.Clone()
		cfg.Renegotiation = tls.RenegotiateNever
	}
	return cfg
}

// Handshake does the handshake. It waits as the Transport does. Nothing else may
// be called meanwhile.
func (c *Conn) Handshake(ctx context.Context) error {
	err := c.tls.HandshakeContext(ctx)
	c.wire.open = true // from here on, nothing waits
	return err
}

// State is the state of the connection, zero before the handshake has ended.
func (c *Conn) State() tls.ConnectionState {
	if !c.wire.open {
		return tls.ConnectionState{}
	}
	return c.tls.ConnectionState()
}

// Read reads plaintext that has come. It returns ErrWouldBlock if there is none,
// and no error with plaintext: the next Read tells it.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.tls.Read(p)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Seal appends to dst the records that p becomes, SealSize of it at most, and
// returns how much that was.
func (c *Conn) Seal(dst, p []byte) (_ []byte, n int, err error) {
	w := &c.wire
	w.sealing, w.sealed = true, dst
	defer func() { w.sealing, w.sealed = false, nil }()
	n, err = c.tls.Write(p[:min(len(p), SealSize)])
	return w.sealed, n, err
}

// CloseWrite queues a close_notify alert (RFC 8446, section 6.1). Nothing can be
// written afterwards.
func (c *Conn) CloseWrite() error { return c.tls.CloseWrite() }

// wire is the Transport as crypto/tls sees it.
type wire struct {
	Transport
	open    bool // the handshake has ended
	sealing bool
	sealed  []byte
}

func (w *wire) Read(p []byte) (int, error) {
	if !w.open {
		return w.Transport.Read(p)
	}
	return w.ReadNow(p)
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.sealing:
		w.sealed = append(w.sealed, p...)
	case !w.open:
		return w.Transport.Write(p)
	default:
		if err := w.Queue(p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// crypto/tls sets deadlines for its own alerts, which are not waited for.

func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
