package loop

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Handler serves a connection.
type Handler interface {
	// Serve is run as a job when a connection has been accepted. When it
	// returns, the connection is closed as Conn.Close does it, unless it was
	// parked (see Conn.Park). Errors are logged at debug level, a panic at error
	// level.
	//
	// If the peer resets the connection, the job is cancelled when it waits for
	// something else: for a key engine, in Sleep, Await or Dial, or for another
	// connection.
	//
	// The context is as Loop.Go says.
	Serve(ctx context.Context, c *Conn) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, c *Conn) error

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, c *Conn) error { return f(ctx, c) }

// Conn is a stream connection whose methods pause the calling job where a
// socket would block. It is a net.Conn. Its methods are for jobs of its loop;
// Close, LocalAddr and RemoteAddr may be called from any goroutine.
//
// Other functions that the loop calls (of AfterFunc and Post) may use it too,
// but never wait: where a job would pause, they get ErrWouldBlock. On other
// goroutines that is ErrNotInJob. While pausing is blocked
// (jobs.Job.BlockPause) a job's calls block the thread instead.
//
// Errors are *net.OpError, as package net's are; errors.Is finds
// os.ErrDeadlineExceeded, net.ErrClosed, jobs.ErrCanceled and the system's.
//
// It behaves as a connection of package net does, with these differences: Close
// lingers (see there); a Read without a deadline ends after Config.IdleTimeout,
// and each wait of a Write after Config.WriteTimeout; a deadline is looked at once
// in a turn of the loop; a Write of no bytes says nothing of the connection; and
// if both ends have shut their sides before the peer resets the connection, a
// Read may tell of the reset instead of the end.
type Conn struct {
	l      *Loop
	fd     int // -1 when closed
	rd, wr side
	timer  timer // at the earliest of its limits, or earlier
	task   *task // that serves it

	state  atomic.Uint32 // a connState
	reason error         // see below
	next   Handler       // given to Park
	tls    *TLSConn      // above it, if the loop knows of one
	out    []byte        // to be sent before anything else
	limit  int64         // of the whole handshake; 0: none
	began  int64         // when it was made, as far as is known
	waited int64         // how long it had waited when the loop got it
	taken  int           // bytes dropped while it lingers
	value  any

	counted  bool  // in census
	rests    bool  // counted in parked
	reserves bool  // and in resting
	known    bool  // its handler has parked it; not for TLS
	heard    bool  // its handler has read something
	admitted bool  // its job was started when it was new
	unread   bool  // its job was started to read, and has not
	sticky   bool  // a short read does not tell that there is no more
	sent     uint8 // bytes, 255 if more
	turned   bool  // it is turned away before it was served,
	shed     bool  // because it has waited too long
	exposed  bool  // the descriptor has been handed out
	abort    bool  // SetLinger says how it is closed
	silent   bool  // it ends without a close_notify alert
	tcp      bool

	local, remote sockaddr
}

// A connection is in one of these states. Close may be called from any
// goroutine, so that it is an atomic; all else is the loop's.
type connState = uint32

const (
	connOpen      connState = iota // a job serves it, or whoever has dialled
	connParked                     // without a job, until there is something to read
	connClosing                    // Close has been called, and the loop will see to it
	connCutting                    // the same below TLS, which has not been asked
	connFlushing                   // what is left is being sent
	connLingering                  // the sending side is shut, what still comes is dropped
	connClosed
)

// The reason of a connection is why it is no longer what it was:
//
//   - os.ErrDeadlineExceeded: it was parked, and its time was up
//   - ErrShutdown: it was parked, and the loop shuts down
//   - io.EOF: a Read has told that the peer will send no more
//   - a syscall.Errno: the socket has failed, and nobody has been told yet
//   - errGone: the socket has failed, and somebody has been told
var errGone = errNamed("the connection has failed")

type errNamed string

func (e errNamed) Error() string { return string(e) }

// gone reports whether the socket has failed: its peer has reset it, or cannot
// be reached. That a peer has closed its side, or both, is no failure.
func (c *Conn) gone() bool {
	_, errno := c.reason.(syscall.Errno)
	return errno || c.reason == errGone
}

// side is one direction of a Conn.
type side struct {
	ready    bool  // as far as is known: edge-triggered readiness is remembered
	deadline int64 // as set by the user
	limit    int64 // of the wait in progress; 0: none
	waiters  *task // linked through task.waitNext
}

// newConn registers a connected socket with the loop. Its errors close fd.
func (l *Loop) newConn(fd int, local, remote sockaddr, tcp bool) (*Conn, error) {
	s := l.claim(fd)
	if err := l.poller.add(fd, s.gen); err != nil {
		sysClose(fd)
		return nil, err
	}
	c := &Conn{l: l, fd: fd, local: local, remote: remote, tcp: tcp, sticky: !seesUrgent || !tcp}
	c.wr.ready = true // that it is readable, the poller will tell
	c.timer.owner = c
	s.conn = c
	l.conns++
	return c, nil
}

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.l }

// SetValue keeps a value of the user's with the connection.
func (c *Conn) SetValue(v any) { c.value = v }

// Value returns what SetValue has kept, nil if nothing.
func (c *Conn) Value() any { return c.value }

// event marks what the poller has reported.
func (c *Conn) event(e *event) {
	// What comes after the mark of urgent data is read separately, and the
	// peer's end gives no edge a second time.
	c.sticky = c.sticky || e.eof || e.urgent
	if e.failed && !c.gone() {
		c.look()
	}
	switch c.state.Load() {
	case connFlushing:
		c.rd.ready = c.rd.ready || e.readable // for the lingering that follows
		if e.writable {
			c.wr.ready = true
			c.flush()
		}
		return
	case connLingering:
		if e.readable {
			c.discard()
		}
		return
	}
	if e.writable {
		c.wr.ready = true
		c.sendKept()
		c.wr.wake()
	}
	if e.readable {
		c.rd.ready = true
		c.rd.wake()
		if c.state.Load() == connParked && c.readable() {
			c.unpark(nil)
		}
	}
	if t := c.task; t != nil && c.gone() && t.waitsElsewhere() {
		t.cancelPaused()
	}
}

// look asks the socket for its error. That an event tells of one is not enough:
// entries in a socket's error queue (of time stamps, say) do so too.
func (c *Conn) look() {
	if errno := sysSocketError(c.fd); errno != 0 {
		c.reason = errno
	}
}

// failed tells of an error of the socket. It is told once: then a Read returns
// io.EOF and a Write EPIPE, as with package net.
func (c *Conn) failed(call string, err error) error {
	c.reason = errGone
	return c.opError(call, os.NewSyscallError(call, err))
}

func (c *Conn) opError(op string, err error) error {
	if err == ErrWouldBlock {
		return err
	}
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *Conn) network() string {
	if c.tcp {
		return "tcp"
	}
	return "unix"
}
