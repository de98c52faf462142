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

// TLSConn is a TLS connection for jobs: crypto/tls as it is, on a Conn. It is a
// net.Conn, and its methods are for those whom Conn's are for. [TLSHandler]
// gives one to its Handler; [TLSServer] and [TLSClient] make one of a Conn.
//
// One job may read while another writes. A second one that reads, or writes,
// gets ErrInUse, and so does whoever uses a connection during its handshake.
//
// It behaves as a *tls.Conn does on a goroutine, with these differences:
//
//   - A Read that has plaintext returns it without an error, which the next Read
//     tells.
//   - Renegotiation is refused.
//   - Close does not tell whether the peer has had the close_notify alert. None is
//     sent after a Write that has not ended, or not well, when the handler has
//     panicked or was cancelled, and when the loop is closed: the peer must not
//     take a part for the whole. Close of the NetConn sends none either.
//   - CloseWrite after Close is net.ErrClosed.
//   - When the peer has gone, a Write of several records may report more bytes,
//     since they go out together.
type TLSConn struct {
	c    *Conn
	s    tlsio.Conn
	h    *TLSHandler                           // whose it is, if any
	next func(context.Context, *TLSConn) error // given to Park

	handshake handshakeState
	err       error // the handshake's
	werr      error // what every further Write ends with
	reading   bool  // a job is in Read, or pauses in it
	writing   bool
	over      bool // Read has told of the end
	answers   int  // bytes that crypto/tls has queued by itself since nothing was left to be sent

	// What has been read ahead, to see whether there is anything: a byte of
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

// TLSServer returns the server's side of a TLS connection on c. The handshake is
// done by Handshake, or by the first Read or Write. From here on c is the
// TLSConn's: nothing else reads or writes it.
func TLSServer(c *Conn, cfg *tls.Config) *TLSConn {
	t := newTLSConn(c)
	t.s.Server((*tlsTransport)(c), cfg)
	return t
}

// TLSClient returns the client's side of a TLS connection on c, as TLSServer
// does the server's. cfg needs a ServerName or InsecureSkipVerify.
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

// ConnectionState returns the state of the connection when its handshake has
// succeeded, and the zero value before.
func (t *TLSConn) ConnectionState() tls.ConnectionState { return t.s.State() }

// SetValue keeps a value of the user's with the connection.
func (t *TLSConn) SetValue(v any) { t.c.value = v }

// Value returns what SetValue has kept, nil if nothing.
func (t *TLSConn) Value() any { return t.c.value }

// Park is Conn's Park: h, or with nil the handler that is running, is called
// again when there is plaintext to read, the peer's end, or whatever else Read
// has to tell. Plaintext that has come already counts. Of a TLSConn that does not
// come from a TLSHandler, h must not be nil at first.
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

// HandshakeContext does the handshake, if it has not been done yet. It is
// called inside a job, which ctx carries to the keys of engines. If ctx ends
// before, the connection is closed.
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

// ready says why an operation must not begin, if so. It does the handshake if
// that has not been done yet.
func (t *TLSConn) ready(op string) error {
	if !t.c.l.here() { // here always: two at a time would break more than the connection
		return t.c.opError(op, ErrNotInJob)
	}
	if t.handshake == handshakeDone && t.err == nil {
		return nil
	}
	return t.Handshake()
}

// maxAnswers is how much crypto/tls may have queued by itself before the
// connection is not read from: the peer has to take it first.
const maxAnswers = 4 << 10

// Read reads into p, and pauses the job until there is something. It returns
// io.EOF when the peer has sent close_notify, and io.ErrUnexpectedEOF when it
// has gone in the middle of a record. While the peer does not take the answers
// that crypto/tls owes it (to KeyUpdates), Read waits for that, whatever its
// deadline, as on a goroutine.
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
			t.peekErr = nil // not every error is there a second time
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

// Readable reports whether a Read would return at once: with plaintext, the
// peer's end, or an error. Before the handshake it is false.
func (t *TLSConn) Readable() bool {
	something := t.handshake == handshakeDone && !t.reading && t.c.l.here() && t.fill()
	t.c.unread = t.c.unread && something
	return something
}

// fill reports whether there is something to read: plaintext, of which it keeps a
// byte, or an end.
func (t *TLSConn) fill() (something bool) {
	if t.hasPeek || t.peekErr != nil {
		return true
	}
	something = true // if there is a panic
	// Code of the user's may be called, a ClientSessionCache's.
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
// returns, the socket has taken all of it, or there is an error: then every
// further Write returns that too, since the peer could not make sense of what
// follows. But ErrWouldBlock, outside a job, is passing: the loop keeps and sends
// what n counts, 64 KiB at most, and nothing more can be written before.
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
		// The scratch buffer holds SealSize with what records add.
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
		if done += n; done == len(p) {
			return done, nil
		}
		if j := c.l.current; j != nil {
			j.ops += n >> 14 // as if each record were sent by itself
		}
		c.moved()
	}
}

// flush waits until nothing is left to be sent.
func (t *TLSConn) flush() error {
	c := t.c
	for len(c.out) > 0 {
		if err := c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout); err != nil {
			return c.opError("write", err)
		}
		if err := c.usable(&c.wr); err != nil {
			return c.opError("write", err)
		}
		if c.gone() { // and what was left is dropped
			_, err := c.sysWrite(nil)
			return err
		}
	}
	return nil
}

// CloseWrite sends a close_notify alert: the peer reads io.EOF, and reads go on
// here. Nothing can be written afterwards.
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

var errShutdown = errors.New("tls: protocol is shutdown") // as crypto/tls says it

var errNoHandshake = errors.New("loop: the handshake has not been done")

// Close closes the connection, after a close_notify alert and all that has been
// written. It may be called from any goroutine and does not wait.
func (t *TLSConn) Close() error { return t.c.close(connClosing) }

// LocalAddr returns the address of this end.
func (t *TLSConn) LocalAddr() net.Addr { return t.c.LocalAddr() }

// RemoteAddr returns the address of the other end.
func (t *TLSConn) RemoteAddr() net.Addr { return t.c.RemoteAddr() }

// SetDeadline sets the read and write deadlines, as Conn's SetDeadline does.
// When a Write has not ended by its deadline, nothing can be written any more.
func (t *TLSConn) SetDeadline(d time.Time) error { return t.c.SetDeadline(d) }

// SetReadDeadline is SetDeadline for reads.
func (t *TLSConn) SetReadDeadline(d time.Time) error { return t.c.SetReadDeadline(d) }

// SetWriteDeadline is SetDeadline for writes.
func (t *TLSConn) SetWriteDeadline(d time.Time) error { return t.c.SetWriteDeadline(d) }

// shaken reports whether the handshake has begun.
func (t *TLSConn) shaken() bool { return t.handshake != handshakeNone }

// sayGoodbye queues a close_notify alert, if the peer has not had one. After a
// Write that has not ended, or not well, or when the handler was cancelled or has
// panicked, it would call a part the whole.
func (t *TLSConn) sayGoodbye() {
	c := t.c
	if t.handshake == handshakeDone && t.err == nil && !t.writing && t.werr == nil &&
		!c.gone() && !c.silent && c.l.stopping.Load() != stopNow {
		t.s.CloseWrite() // an error is that of a connection which ends anyway
	}
}

// tlsTransport is a Conn as the records' carrier.
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
