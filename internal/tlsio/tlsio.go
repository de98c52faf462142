// Package tlsio runs crypto/tls so that it never waits once the handshake is done.
//
// crypto/tls holds one mutex while it writes and another while it reads. If the
// connection below makes its caller wait by pausing the job, as an event loop's
// connection does, a job can hold a mutex that another job of the same thread
// wants. For example, a reader needs the writer's mutex to answer a KeyUpdate or to
// send an alert. The thread would then block for ever. So the users of this
// package, loop and gnetjobs, do the waiting above crypto/tls.
//
// A [Conn] reads from its [Transport] what has arrived. It returns ErrWouldBlock if
// that makes no plaintext. Data to be written becomes records in memory, which the
// caller sends as the peer takes them. What crypto/tls sends by itself is queued
// behind them.
package tlsio

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// ErrWouldBlock says that an operation would have to wait. Because it is a temporary
// error, a tls.Conn keeps its state and can be read again later.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "operation would block" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// Transport carries the records of a Conn.
type Transport interface {
	// Read and Write are as in net.Conn. They are only called during the handshake,
	// and may wait.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// Close is only called if the context of the handshake ends. It may be called on
	// another goroutine, and twice.
	Close() error

	// NetConn returns the plain connection. It is for code that has the Conn of a
	// tls.ClientHelloInfo.
	NetConn() net.Conn

	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// ReadNow reads what has arrived. It returns ErrWouldBlock if nothing has.
	ReadNow(p []byte) (int, error)

	// Queue sends p after everything that was sent before. It must not wait, and
	// must not keep p.
	Queue(p []byte) error
}

// SealSize is the most bytes that Seal makes into records at a time. crypto/tls
// would write each record separately, and its first records are little longer than
// a kilobyte.
const SealSize = 64 << 10

// Conn is a TLS connection that does not wait. It belongs to one goroutine at a
// time. Server or Client must be called before it is used.
type Conn struct {
	tls  *tls.Conn
	wire wire
}

// Server makes c the server's side of a connection.
func (c *Conn) Server(t Transport, cfg *tls.Config) {
	c.wire.Transport = t
	c.tls = tls.Server(&c.wire, cfg)
}

// Client makes c the client's side of a connection. It refuses TLS 1.2
// renegotiation, which would be a handshake in the middle of a Read.
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

// Handshake does the handshake. It waits when the Transport does. Nothing else may
// be called meanwhile. A handshake that fails once ctx has ended returns ctx's error,
// and the Transport has been closed.
func (c *Conn) Handshake(ctx context.Context) error {
	err := c.tls.HandshakeContext(ctx)
	if ended := ctx.Err(); err != nil && ended != nil {
		// A key may see the end of ctx before crypto/tls does. crypto/tls then returns
		// the text of the key's error (go1.26).
		c.wire.Close()
		err = ended
	}
	c.wire.open = true // from here on, nothing waits
	return err
}

// State returns the state of the connection, or the zero value before the handshake
// has ended.
func (c *Conn) State() tls.ConnectionState {
	if !c.wire.open {
		return tls.ConnectionState{}
	}
	return c.tls.ConnectionState()
}

// Read reads plaintext that has arrived. It returns ErrWouldBlock if there is none.
// It never returns an error together with plaintext; the next Read returns the
// error.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.tls.Read(p)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Seal encrypts up to SealSize bytes of p and appends the records to dst. n is how
// many bytes of p were encrypted.
func (c *Conn) Seal(dst, p []byte) (_ []byte, n int, err error) {
	w := &c.wire
	w.sealing, w.sealed = true, dst
	defer func() { w.sealing, w.sealed = false, nil }()
	n, err = c.tls.Write(p[:min(len(p), SealSize)])
	return w.sealed, n, err
}

// Detach returns the crypto/tls connection, which from now on reads, writes and closes
// nc instead of the Transport, and waits as nc does. Records that have been read are
// kept. The handshake must have ended, and nothing else but State may be called
// afterwards.
func (c *Conn) Detach(nc net.Conn) *tls.Conn {
	c.wire.net, c.wire.Transport = nc, detached{nc}
	return c.tls
}

// CloseWrite queues a close_notify alert (RFC 8446, section 6.1). Nothing can be
// written afterwards.
func (c *Conn) CloseWrite() error { return c.tls.CloseWrite() }

// wire is the Transport as crypto/tls sees it.
type wire struct {
	Transport
	net     net.Conn // after Detach
	open    bool     // the handshake has ended
	sealing bool
	sealed  []byte
}

func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.net != nil:
		return w.net.Read(p)
	case !w.open:
		return w.Transport.Read(p)
	}
	return w.ReadNow(p)
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.net != nil:
		return w.net.Write(p)
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

// crypto/tls sets deadlines for its alerts. They have no effect before Detach, because
// sending an alert does not wait.

func (w *wire) SetDeadline(t time.Time) error {
	if w.net != nil {
		return w.net.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.net != nil {
		return w.net.SetReadDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.net != nil {
		return w.net.SetWriteDeadline(t)
	}
	return nil
}

// detached is a connection of package net as the Transport after Detach. ReadNow and
// Queue are not called any more.
type detached struct{ net.Conn }

func (d detached) NetConn() net.Conn             { return d.Conn }
func (d detached) ReadNow(p []byte) (int, error) { return d.Read(p) }
func (d detached) Queue(p []byte) error          { _, err := d.Write(p); return err }
