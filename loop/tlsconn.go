package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/jobloop/jobloop/internal/tlsio"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// TLSConn is a TLS connection for jobs: the unmodified crypto/tls on a Conn. It is
// a net.Conn. Its methods may be called from the same places as Conn's.
// [TLSHandler] passes one to its Handler; [TLSServer] and [TLSClient] make one
// from a Conn.
//
// One job may read while another writes. A second reader or a second writer gets
// ErrInUse. So does a job that uses the connection while another does its
// handshake.
//
// A TLSConn behaves as a *tls.Conn does on a goroutine, except:
//
//   - A Read that returns plaintext returns no error with it; the next Read does.
//   - Renegotiation is refused.
//   - Close does not report whether the close_notify alert was sent. No alert is
//     sent if a Write has failed or is still in progress, if the handler panicked
//     or was cancelled, or if the loop is closed: the peer must not mistake
//     truncated data for all of it. Closing the NetConn sends no alert either.
//   - CloseWrite after Close returns net.ErrClosed.
//   - If the peer has gone, a Write of several records may report more bytes,
//     because the records are sent together.
type TLSConn struct {
	c    *Conn
	s    tlsio.Conn
	h    *TLSHandler                           // the handler it belongs to, if any
	next func(context.Context, *TLSConn) error // given to Park

	handshake handshakeState
	err       error // of the handshake
	werr      error // returned by every further Write
	reading   bool  // a job is in Read, possibly paused
	writing   bool
	over      bool // Read has reported the end
	detached  bool // crypto/tls belongs to somebody else
	answers   int  // bytes that crypto/tls has queued by itself since c.out was last empty

	// What was read ahead to find out whether there is anything to read: a byte of
	// plaintext, an error.
	peeked  byte
	hasPeek bool
	peekErr error

	reported bool // OnHandshake has been called
	told     bool // OnClose has been called
}

type handshakeState uint8

const (
	handshakeNone handshakeState = iota
	handshakeRunning
	handshakeDone // or failed
)

var _ net.Conn = (*TLSConn)(nil)

// TLSServer returns the server's side of a TLS connection on c. Handshake, or the
// first Read or Write, does the handshake. c belongs to the TLSConn from now on:
// nothing else may read or write it.
func TLSServer(c *Conn, cfg *tls.Config) *TLSConn {
	t := newTLSConn(c)
	t.s.Server((*tlsTransport)(c), cfg)
	return t
}

// TLSClient returns the client's side of a TLS connection on c. It is otherwise
// like TLSServer. cfg needs a ServerName or InsecureSkipVerify.
func TLSClient(c *Conn, cfg *tls.Config) *TLSConn {
	t := newTLSConn(c)
	t.s.Client((*tlsTransport)(c), cfg)
	return t
}

func newTLSConn(c *Conn) *TLSConn {
	t := &TLSConn{c: c}
	c.tls = t
	return t
}

// NetConn returns the plain connection below.
func (t *TLSConn) NetConn() *Conn { return t.c }

// Loop returns the loop the connection belongs to.
func (t *TLSConn) Loop() *Loop { return t.c.l }

// ConnectionState returns the state of the connection, or the zero value if its
// handshake has not succeeded yet.
func (t *TLSConn) ConnectionState() tls.ConnectionState { return t.s.State() }

// SetValue attaches a value of the user's choice to the connection.
func (t *TLSConn) SetValue(v any) { t.c.value = v }

// Value returns the value attached by SetValue, or nil.
func (t *TLSConn) Value() any { return t.c.value }

// Park is Conn.Park for TLS. When there is plaintext to read, the peer's end, or
// an error, h is called; if h is nil, the running handler is called again.
// Plaintext that has arrived already counts. If the TLSConn does not come from a
// TLSHandler, h must not be nil the first time.
func (t *TLSConn) Park(h func(ctx context.Context, c *TLSConn) error) error {
	switch {
	case h != nil:
		t.next = h
	case t.next == nil && t.h == nil:
		return errNoHandler
	}
	return t.c.Park((*tlsServer)(t))
}

// Handshake is HandshakeContext with the context of the running job.
func (t *TLSConn) Handshake() error {
	l := t.c.l
	if l.current == nil {
		return t.c.opError("handshake", l.outside())
	}
	return t.HandshakeContext(jobs.NewContext(l.jobCtx, l.current.job))
}

// HandshakeContext does the handshake if it has not been done yet. It must be
// called inside a job. ctx should carry that job, because the keys of engines use
// it. If ctx ends during the handshake, the connection is closed, and the error is
// ctx's.
func (t *TLSConn) HandshakeContext(ctx context.Context) error {
	switch {
	case t.handshake == handshakeDone:
		return t.err
	case t.handshake == handshakeRunning:
		return t.c.opError("handshake", ErrInUse)
	case t.c.l.current == nil || !t.c.l.current.job.Inside():
		return t.c.opError("handshake", t.c.l.outside())
	}
	t.handshake = handshakeRunning
	t.err = t.s.Handshake(ctx)
	t.handshake, t.over = handshakeDone, t.err != nil
	return t.err
}

// ready returns nil if an operation may begin, or the reason why not. It does the
// handshake if that has not been done yet.
func (t *TLSConn) ready(op string) error {
	if !t.c.l.here() { // always checked, since concurrent calls would break more than the connection
		return t.c.opError(op, ErrNotInJob)
	}
	if t.handshake == handshakeDone && t.err == nil {
		return nil
	}
	return t.Handshake()
}

// maxAnswers is how many bytes crypto/tls may queue by itself. Beyond that, the
// connection is not read from until the peer has taken them.
const maxAnswers = 4 << 10

// Read reads into p, and pauses the job until there is something to read. It
// returns io.EOF when the peer has sent close_notify, and io.ErrUnexpectedEOF when
// the connection ended in the middle of a record. If the peer does not take the
// answers of crypto/tls (to KeyUpdates), Read waits until it does, whatever the
// read deadline, as a *tls.Conn does.
func (t *TLSConn) Read(p []byte) (int, error) {
	t.c.unread = false
	if err := t.ready("read"); err != nil {
		return 0, err
	}
	if t.reading {
		return 0, t.c.opError("read", ErrInUse)
	}
	t.reading = true
	defer func() { t.reading = false }()
	c := t.c
	for {
		if t.answers > maxAnswers && len(c.out) > 0 {
			err := c.usable(&c.wr)
			if err == nil {
				err = c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout)
			}
			if err != nil {
				return 0, c.opError("read", err)
			}
			continue
		}
		n, err := t.readNow(p)
		if n > 0 {
			c.heard = true
			c.moved()
		}
		if err != ErrWouldBlock {
			t.over = err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
			return n, err
		}
		if err := c.await(&c.rd, waitctx.Readable, c.l.cfg.IdleTimeout); err != nil {
			return 0, c.opError("read", err)
		}
	}
}

func (t *TLSConn) readNow(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !t.hasPeek {
		if err := t.peekErr; err != nil {
			t.peekErr = nil // returned once; not every error occurs a second time
			return 0, err
		}
		return t.s.Read(p)
	}
	t.hasPeek = false
	p[0] = t.peeked
	n := 1
	if len(p) > 1 {
		m, err := t.s.Read(p[1:])
		n += m
		if err != ErrWouldBlock {
			t.peekErr = err
		}
	}
	return n, nil
}

// Readable reports whether a Read would return at once, with plaintext, the
// peer's end, or an error. Before the handshake it returns false.
func (t *TLSConn) Readable() bool {
	something := t.handshake == handshakeDone && !t.reading && t.c.l.here() && t.fill()
	t.c.unread = t.c.unread && something
	return something
}

// fill reports whether there is something to read: plaintext, the peer's end or
// an error. It keeps the byte or the error that it has read for the next Read.
func (t *TLSConn) fill() (something bool) {
	if t.hasPeek || t.peekErr != nil || t.detached {
		return true
	}
	something = true // the result if there is a panic
	// The user's code may be called here, such as a ClientSessionCache.
	defer t.c.l.recoverPanic("a function called by crypto/tls panicked")
	t.peekErr = errPanicked
	var b [1]byte
	n, err := t.s.Read(b[:])
	if n > 0 {
		t.peeked, t.hasPeek = b[0], true
	}
	if t.peekErr = err; err == ErrWouldBlock {
		t.peekErr = nil
	}
	return n > 0 || t.peekErr != nil
}

var errPanicked = errors.New("loop: a function called by crypto/tls panicked")

// Write writes p, and pauses the job while the socket takes no more. When it
// returns nil, the socket has taken all of p. After an error every further Write
// returns that error too, because the peer could not make sense of what follows.
//
// Outside a job Write may return ErrWouldBlock, which does not affect further
// Writes. The loop has then kept the n bytes that Write reports, at most 64 KiB,
// and sends them. Nothing more can be written until they have been sent.
func (t *TLSConn) Write(p []byte) (int, error) {
	if err := t.ready("write"); err != nil {
		return 0, err
	}
	switch {
	case t.c.state.Load() >= connClosing:
		return 0, t.c.opError("write", net.ErrClosed)
	case t.writing:
		return 0, t.c.opError("write", ErrInUse)
	case t.werr != nil:
		return 0, t.werr
	case len(p) == 0:
		return 0, nil
	}
	t.writing = true
	defer func() { t.writing = false }()
	n, err := t.write(p)
	if err != nil && err != ErrWouldBlock {
		t.werr = err
	}
	return n, err
}

func (t *TLSConn) write(p []byte) (int, error) {
	c := t.c
	if err := t.flush(); err != nil {
		return 0, err
	}
	for done := 0; ; {
		if err := c.usable(&c.wr); err != nil {
			return done, c.opError("write", err)
		}
		// The scratch buffer has room for SealSize bytes plus the records' overhead.
		sealed, n, err := t.s.Seal(c.l.scratchBuffer()[:0], p[done:])
		if err == nil {
			err = c.send(sealed)
		}
		if err != nil {
			return done, err
		}
		if err := t.flush(); err != nil {
			if err == ErrWouldBlock { // the loop will send it
				if done += n; done == len(p) {
					err = nil
				}
			}
			return done, err
		}
		t.answers = 0
		if j := c.l.current; j != nil {
			j.ops += n >> 14 // as if each record were sent by itself
		}
		c.moved()
		if done += n; done == len(p) {
			return done, nil
		}
	}
}

// flush waits until all output has been sent.
func (t *TLSConn) flush() error {
	c := t.c
	for len(c.out) > 0 {
		if err := c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout); err != nil {
			return c.opError("write", err)
		}
		if err := c.usable(&c.wr); err != nil {
			return c.opError("write", err)
		}
		if c.gone() { // the remaining output has been dropped
			_, err := c.sysWrite(nil)
			return err
		}
	}
	return nil
}

// CloseWrite sends a close_notify alert, so that the peer reads io.EOF. Reads on
// this end continue to work. Nothing can be written afterwards.
func (t *TLSConn) CloseWrite() error {
	if t.handshake != handshakeDone || t.err != nil {
		return t.c.opError("close", errNoHandshake)
	}
	if !t.c.l.here() {
		return t.c.opError("close", ErrNotInJob)
	}
	if t.writing {
		return t.c.opError("close", ErrInUse)
	}
	if t.c.state.Load() >= connClosing {
		return t.c.opError("close", net.ErrClosed)
	}
	t.writing = true
	defer func() { t.writing = false }()
	err := t.s.CloseWrite()
	if t.werr == nil {
		t.werr = errShutdown
	}
	if err != nil {
		return err
	}
	return t.flush()
}

var errShutdown = errors.New("tls: protocol is shutdown") // the text of crypto/tls

var errNoHandshake = errors.New("loop: the handshake has not been done")

// Close closes the connection, after sending what has been written and a
// close_notify alert. It does not wait, and may be called from any goroutine.
func (t *TLSConn) Close() error { return t.c.close(connClosing) }

// LocalAddr returns the address of this end.
func (t *TLSConn) LocalAddr() net.Addr { return t.c.LocalAddr() }

// RemoteAddr returns the address of the other end.
func (t *TLSConn) RemoteAddr() net.Addr { return t.c.RemoteAddr() }

// SetDeadline sets the read and write deadlines, as Conn.SetDeadline does. If a
// Write has not finished by its deadline, nothing can be written any more.
func (t *TLSConn) SetDeadline(d time.Time) error { return t.c.SetDeadline(d) }

// SetReadDeadline is SetDeadline for reads.
func (t *TLSConn) SetReadDeadline(d time.Time) error { return t.c.SetReadDeadline(d) }

// SetWriteDeadline is SetDeadline for writes.
func (t *TLSConn) SetWriteDeadline(d time.Time) error { return t.c.SetWriteDeadline(d) }

// shaken reports whether the handshake has begun.
func (t *TLSConn) shaken() bool { return t.handshake != handshakeNone }

// sayGoodbye queues a close_notify alert if none has been sent. It does not do so
// after a Write that failed or is unfinished, or if the handler was cancelled or
// has panicked: the alert would make truncated data look complete.
func (t *TLSConn) sayGoodbye() {
	c := t.c
	if t.handshake == handshakeDone && t.err == nil && !t.writing && t.werr == nil &&
		!c.gone() && !c.silent && c.l.stopping.Load() != stopNow {
		t.s.CloseWrite() // errors do not matter: the connection ends anyway
	}
}

// tlsTransport is a Conn as the transport of TLS records.
type tlsTransport Conn

var _ tlsio.Transport = (*tlsTransport)(nil)

func (c *tlsTransport) Read(p []byte) (int, error)    { return (*Conn)(c).Read(p) }
func (c *tlsTransport) Write(p []byte) (int, error)   { return (*Conn)(c).Write(p) }
func (c *tlsTransport) ReadNow(p []byte) (int, error) { return (*Conn)(c).readNow(p) }
func (c *tlsTransport) Close() error                  { return (*Conn)(c).Close() }
func (c *tlsTransport) LocalAddr() net.Addr           { return (*Conn)(c).LocalAddr() }
func (c *tlsTransport) RemoteAddr() net.Addr          { return (*Conn)(c).RemoteAddr() }
func (c *tlsTransport) NetConn() net.Conn             { return (*Conn)(c) }

// Queue sends an alert, or the answer to a KeyUpdate.
func (c *tlsTransport) Queue(p []byte) error {
	t := c.tls
	if len(c.out) == 0 {
		t.answers = 0
	}
	t.answers += len(p)
	return (*Conn)(c).send(p)
}
