package loop

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// Handler serves a connection.
type Handler interface {
	// Serve is run as a job when a connection has been accepted. When it
	// returns, the connection is closed, unless it was parked (see Conn.Park)
	// or the error is ErrWouldBlock: then Serve is run again when there is
	// something to read. Other errors are logged at debug level, a panic at
	// error level.
	//
	// If the peer resets the connection while the job waits for something
	// else (for a key engine: in jobs.Job.Pause), the job is cancelled.
	//
	// The context is as Loop.Go says.
	Serve(ctx context.Context, c *Conn) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, c *Conn) error

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, c *Conn) error { return f(ctx, c) }

// Conn is a stream connection whose methods pause the calling job where a
// socket would block. It is a net.Conn. Its methods are for jobs of its loop
// (and, where they cannot have to wait, for other functions that the loop
// calls); Close may be called from any goroutine. While pausing is blocked
// (jobs.Job.BlockPause) its methods block the thread instead.
//
// Errors are *net.OpError, as package net's are; errors.Is finds
// os.ErrDeadlineExceeded, net.ErrClosed, jobs.ErrCanceled and the system's.
type Conn struct {
	l      *Loop
	fd     int // -1 when closed
	rd, wr side
	timer  timer // at the earliest limit of rd and wr, or earlier
	task   *task // that serves it
	parked Handler
	failed error // what reads end with instead of waiting: the time of a parked connection is up, or the loop's

	closed       atomic.Bool
	eof          bool // the peer will send no more
	ended        bool // and a Read has told so
	urgent       bool // the peer has sent urgent data
	dead         bool // in both directions
	broken       bool // by a reset, and a Read has told so
	nonblock     bool // see SetReadNonblock
	exposed      bool // the descriptor has been handed out
	closedWrite  bool
	tcp          bool
	remote       sockaddr
	local, raddr net.Addr // made when first asked for
}

// side is one direction of a Conn.
type side struct {
	ready    bool  // as far as is known: edge-triggered readiness is remembered
	deadline int64 // as set by the user
	limit    int64 // of the wait in progress; 0: none
	waiters  *task // linked through task.waitNext
}

// newConn registers a connected socket with the loop. Its errors close fd.
func (l *Loop) newConn(fd int, remote sockaddr, tcp bool) (*Conn, error) {
	s := l.claim(fd)
	if err := l.poller.add(fd, s.gen); err != nil {
		sysClose(fd)
		return nil, err
	}
	c := &Conn{l: l, fd: fd, remote: remote, tcp: tcp}
	c.wr.ready = true // that it is readable, the poller will tell
	c.timer.owner = c
	s.conn = c
	l.conns++
	return c, nil
}

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.l }

// event marks what the poller has reported.
func (c *Conn) event(e *event) {
	c.eof = c.eof || e.eof
	c.urgent = c.urgent || e.urgent
	c.dead = c.dead || e.dead
	if e.readable {
		c.rd.ready = true
		c.rd.wake()
		if c.isParked() {
			c.unpark(nil)
		}
	}
	if e.writable {
		c.wr.ready = true
		c.wr.wake()
	}
	if t := c.task; t != nil && c.abandoned() && t.state == taskPaused && !t.inLoop {
		t.cancel = true
		t.ready()
	}
}

// abandoned reports whether nobody is left to serve: a job that waits for
// something else then, a signature say, is cancelled.
func (c *Conn) abandoned() bool { return c.dead && !c.closedWrite }

func (s *side) wake() {
	for t := s.waiters; t != nil; t = t.waitNext {
		t.ready()
	}
}

func (s *side) remove(t *task) {
	for p := &s.waiters; *p != nil; p = &(*p).waitNext {
		if *p == t {
			*p = t.waitNext
			t.waitNext = nil
			break
		}
	}
	if s.waiters == nil {
		s.limit = 0
	}
}

// Read reads into p, and pauses the job until there is something. It returns
// io.EOF when the peer has closed its side.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if err := c.usable(&c.rd); err != nil {
			return 0, c.opError("read", err)
		}
		if len(p) == 0 {
			return 0, nil
		}
		if c.rd.ready {
			n, err := sysRead(c.fd, p)
			switch {
			case n > 0:
				// What comes later, an edge will tell.
				if n < len(p) && c.shortIsAll() {
					c.rd.ready = false
				}
				c.moved()
				return n, nil
			case err == nil:
				c.ended = true
				return 0, io.EOF
			case interrupted(err):
				continue
			case !wouldBlock(err):
				c.broken = isErrno(err, errnoRESET)
				return 0, c.opError("read", os.NewSyscallError("read", err))
			}
			c.rd.ready = false
		}
		if c.failed != nil {
			return 0, c.opError("read", c.failed)
		}
		if c.nonblock {
			return 0, ErrWouldBlock
		}
		if err := c.await(&c.rd, waitctx.Readable, c.l.cfg.IdleTimeout); err != nil {
			return 0, c.opError("read", err)
		}
	}
}

// Write writes p, and pauses the job while the socket takes no more. It
// returns fewer than len(p) bytes only with an error. Writes that several jobs
// make at once may be mixed.
func (c *Conn) Write(p []byte) (int, error) {
	done := 0
	for {
		if err := c.usable(&c.wr); err != nil {
			return done, c.opError("write", err)
		}
		if done == len(p) {
			return done, nil
		}
		if c.broken {
			// The kernel would say the same, and send SIGPIPE. crypto/tls says
			// goodbye on every connection.
			return done, c.opError("write", os.NewSyscallError("write", errnoEPIPE))
		}
		if c.wr.ready {
			n, err := sysWrite(c.fd, p[done:])
			switch {
			case n > 0:
				done += n
				c.moved()
				if done == len(p) {
					return done, nil
				}
				continue
			case err == nil:
				return done, c.opError("write", io.ErrUnexpectedEOF)
			case interrupted(err):
				continue
			case !wouldBlock(err):
				return done, c.opError("write", os.NewSyscallError("write", err))
			}
			c.wr.ready = false
		}
		if err := c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout); err != nil {
			return done, c.opError("write", err)
		}
	}
}

// shortIsAll reports whether a read of fewer bytes than asked for has emptied
// the buffer. It has not at the mark of urgent data, nor, on a Unix socket, at
// the end of what descriptors were sent with; and the peer's end gives no edge
// a second time.
func (c *Conn) shortIsAll() bool { return seesUrgent && c.tcp && !c.urgent && !c.eof }

// usable says why an operation must not begin, if so.
func (c *Conn) usable(s *side) error {
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case s.deadline != 0 && s.deadline <= c.l.now:
		return os.ErrDeadlineExceeded
	}
	if t := c.l.current; t != nil && t.cancel && t.ops >= fairShare {
		return jobs.ErrCanceled
	}
	return nil
}

// await waits until side s may be ready, or usable says why it never will.
func (c *Conn) await(s *side, ev waitctx.Events, bound time.Duration) error {
	l := c.l
	s.limit = l.limit(s, bound)
	t := l.current
	if t == nil {
		return c.block(s, ev)
	}
	t.waitNext = s.waiters
	s.waiters = t
	defer s.remove(t)
	c.schedule(s.limit)
	for {
		paused, err := t.pause()
		if err != nil {
			return err
		}
		if !paused {
			return c.block(s, ev)
		}
		if s.ready || c.usable(s) != nil {
			return nil
		}
		if s.limit != 0 && s.limit <= l.now {
			return os.ErrDeadlineExceeded
		}
	}
}

// block waits for code that may not pause.
func (c *Conn) block(s *side, ev waitctx.Events) error {
	for {
		timeout := time.Duration(-1)
		if s.limit != 0 {
			timeout = time.Duration(max(s.limit-c.l.clock(), 0))
		}
		ready, err := sysPoll(c.fd, ev, timeout)
		if ready || err != nil {
			s.ready = true
			return err
		}
		if timeout == 0 {
			return os.ErrDeadlineExceeded
		}
	}
}

// fairShare is how many system calls a job may make in a row that moved bytes,
// before others that are ready have their turn. 64 reads by crypto/tls are
// about a megabyte. A job that is cancelled may make as many to say goodbye.
const fairShare = 64

// moved counts an operation of the job that did not have to wait.
func (c *Conn) moved() {
	t := c.l.current
	if t == nil {
		return
	}
	if t.ops++; t.ops < fairShare || t.cancel {
		return
	}
	t.ops = 0
	t.yielding = true
	t.pause()
	t.yielding = false
}

// Close closes the connection. Reads and writes that wait end with
// net.ErrClosed. It may be called from any goroutine; the descriptor is closed
// by the loop, at the latest when it next has polled.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		// Without addresses: only the loop's goroutine may look at those.
		return &net.OpError{Op: "close", Net: c.network(), Err: net.ErrClosed}
	}
	c.l.send(message{conn: c}) // if the loop has ended, it has closed it
	return nil
}

// closeNow closes the connection, on the loop's goroutine.
func (c *Conn) closeNow() {
	c.closed.Store(true)
	if c.fd < 0 {
		return
	}
	l := c.l
	fd := c.fd
	c.fd = -1
	c.parked = nil
	l.stopTimer(&c.timer)
	if c.exposed { // a duplicate may keep the registration alive
		l.poller.remove(fd)
	}
	w := l.slots[fd].watch
	l.claim(fd)
	sysClose(fd)
	l.conns--
	c.rd.wake()
	c.wr.wake()
	if w != nil {
		w.fire()
	}
	l.descriptorFreed()
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
