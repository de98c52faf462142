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
	// Serve runs as a job when a connection has been accepted. When it returns,
	// the connection is closed as by Conn.Close, unless it was parked (see
	// Conn.Park). An error is logged at debug level, a panic at error level.
	//
	// If the peer resets the connection while the job waits for something else,
	// the job is cancelled. It may be waiting for a key engine, in Sleep, Await or
	// Dial, or for another connection.
	//
	// The context is described at Loop.Go.
	Serve(ctx context.Context, c *Conn) error
}

// HandlerFunc turns a function into a Handler.
type HandlerFunc func(ctx context.Context, c *Conn) error

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, c *Conn) error { return f(ctx, c) }

// Conn is a stream connection whose methods pause the calling job where a
// socket would block. It is a net.Conn. Its methods are for jobs of its loop;
// Close, LocalAddr and RemoteAddr may be called from any goroutine.
//
// Functions that the loop calls outside any job, such as those given to
// AfterFunc and Post, may use it too, but cannot wait: where a job would pause,
// they get ErrWouldBlock. Other goroutines get ErrNotInJob. While pausing is
// blocked (jobs.Job.BlockPause), a job's calls block the thread instead.
//
// Errors are *net.OpError, as in package net. errors.Is finds
// os.ErrDeadlineExceeded, net.ErrClosed, jobs.ErrCanceled and system errors.
//
// A Conn behaves as a connection of package net does, except:
//
//   - Close lingers (see there).
//   - A Read without a deadline ends after Config.IdleTimeout, and each wait of a
//     Write without one after Config.WriteTimeout.
//   - Deadlines are checked once in each turn of the loop.
//   - A Write of no bytes does not report the state of the connection.
//   - If both ends have shut their sides before the peer resets the connection, a
//     Read may return the reset instead of io.EOF.
type Conn struct {
	l      *Loop
	fd     int // -1 when closed
	rd, wr side
	timer  timer // expires at the earliest of the limits, or before
	task   *task // the job that serves it

	state  atomic.Uint32 // a connState
	reason error         // see errGone
	next   Handler       // given to Park
	tls    *TLSConn      // on top of it, if the loop knows of one
	out    []byte        // to be sent before anything else
	limit  int64         // for the whole handshake; 0: none
	began  int64         // when the connection was made, as far as is known
	waited int64         // how long it had waited when the loop got it
	taken  int           // bytes discarded while it lingers
	value  any

	counted  bool  // in census
	rests    bool  // counted in queues.parked
	reserves bool  // counted in queues.resting as well
	known    bool  // its handler has parked it before; not used for TLS
	heard    bool  // its handler has read something
	admitted bool  // its job was started when it was new
	unread   bool  // its job was started to read, and has not read yet
	sticky   bool  // after a short read there may be more
	sent     uint8 // bytes sent; 255 means 255 or more
	turned   bool  // it is turned away before being served
	shed     bool  // because it waited too long
	exposed  bool  // the descriptor has been handed out
	abort    bool  // SetLinger determines how it is closed
	silent   bool  // it ends without a close_notify alert
	tcp      bool

	local, remote sockaddr
}

// connState is the state of a connection. It is an atomic because Close may be
// called from any goroutine. Everything else belongs to the loop's goroutine.
type connState = uint32

const (
	connOpen      connState = iota // served by a job, or used by the code that dialled it
	connParked                     // without a job until there is something to read
	connClosing                    // Close was called, and the loop has yet to act on it
	connCutting                    // the same, but below TLS, so no close_notify alert is sent
	connFlushing                   // the remaining output is being sent
	connLingering                  // the sending side is shut; input is discarded
	connClosed
)

// errGone is one of the values of Conn.reason, which records what has happened
// to the connection:
//
//   - os.ErrDeadlineExceeded: it was parked, and its time was up
//   - ErrShutdown: it was parked, and the loop is shutting down
//   - io.EOF: a Read has reported that the peer will send no more
//   - a syscall.Errno: the socket has failed, and no call has reported it yet
//   - errGone: the socket has failed, and a call has reported it
var errGone = errNamed("the connection has failed")

type errNamed string

func (e errNamed) Error() string { return string(e) }

// gone reports whether the socket has failed: the peer has reset it or cannot be
// reached. A peer that has only closed its side is not a failure.
func (c *Conn) gone() bool {
	_, errno := c.reason.(syscall.Errno)
	return errno || c.reason == errGone
}

// side is one direction of a Conn.
type side struct {
	ready    bool  // as far as is known; edge-triggered readiness is remembered
	busy     int32 // jobs inside Read or Write, perhaps paused
	deadline int64 // as set by the user; 0: none
	limit    int64 // when the wait in progress has to end; 0: none
	waiters  *waiter
}

// waiter is a job's place among those that wait for a side of a connection. A job has
// one for its reads and writes, and Dial more, to wait for several connections.
type waiter struct {
	task *task
	next *waiter
}

// newConn registers a connected socket with the loop. On an error it closes fd.
func (l *Loop) newConn(fd int, local, remote sockaddr, tcp bool) (*Conn, error) {
	s := l.claim(fd)
	if err := l.poller.add(fd, s.gen); err != nil {
		sysClose(fd)
		return nil, err
	}
	c := &Conn{l: l, fd: fd, local: local, remote: remote, tcp: tcp, sticky: !seesUrgent || !tcp}
	c.wr.ready = true // the poller will report when it is readable
	c.timer.owner = c
	s.conn = c
	l.conns++
	return c, nil
}

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.l }

// SetValue attaches a value of the user's choice to the connection.
func (c *Conn) SetValue(v any) { c.value = v }

// Value returns the value attached by SetValue, or nil.
func (c *Conn) Value() any { return c.value }

// event records what the poller has reported, and wakes whoever waits for it.
func (c *Conn) event(e *event) {
	// A read stops short at the mark of urgent data although more may follow. And
	// the peer's end gives no second edge.
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

// look asks the socket for its error. The event alone is no proof of one:
// entries in a socket's error queue, such as time stamps, cause it too.
func (c *Conn) look() {
	if errno := sysSocketError(c.fd); errno != 0 {
		c.reason = errno
	}
}

// failed reports an error of the socket. It is reported once. After that a Read
// returns io.EOF and a Write EPIPE, as in package net.
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
