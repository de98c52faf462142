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
	dead         bool // in both directions
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

// event marks what the poller has reported.
func (c *Conn) event(e *event) {
	c.eof = c.eof || e.eof
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
				// A short read has emptied the buffer; what comes later, an edge
				// will tell. The peer's end gives no edge a second time.
				if n < len(p) && !c.eof {
					c.rd.ready = false
				}
				c.moved()
				return n, nil
			case err == nil:
				return 0, io.EOF
			case interrupted(err):
				continue
			case !wouldBlock(err):
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
	s.limit = s.deadline
	if s.limit == 0 && bound > 0 {
		s.limit = l.after(bound)
	}
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

// SetReadNonblock chooses what a Read does that would have to wait: with true
// it returns ErrWouldBlock, with false, as at the start of each job, it pauses
// the job. A handler that waits for a new request reads like this, and parks
// the connection when it would have to wait.
func (c *Conn) SetReadNonblock(on bool) { c.nonblock = on }

// Park makes the connection stay open, without a job, when the handler
// returns. A job with h is started when there is something to read: bytes, the
// peer's end, or that the read deadline (without one, Config.IdleTimeout) has
// passed or the loop is shutting down, which Read then tells. It is called from
// inside the connection's own job, and always returns nil, for a handler to
// end with
//
//	return c.Park(h)
//
// Data that a library has buffered above the connection does not count as
// something to read: read until ErrWouldBlock before parking. Without a read
// deadline, each time it is parked the idle timeout starts anew: set one if a
// peer that trickles bytes is not to stay.
func (c *Conn) Park(h Handler) error {
	c.parked = h
	return nil
}

// isParked reports whether the connection waits for a job. Between Park and
// the handler's return, it has one still.
func (c *Conn) isParked() bool { return c.parked != nil && c.task == nil }

// served is called when the connection's job has ended.
func (c *Conn) served() {
	c.task = nil
	h := c.parked
	switch {
	case h == nil || c.closed.Load() || c.l.stopping.Load() == stopNow || c.l.draining && c.failed != nil:
		c.closeNow()
	case c.l.draining:
		c.unpark(ErrShutdown)
	case c.rd.ready || c.failed != nil:
		c.unpark(nil)
	default:
		c.nonblock = false
		c.rd.limit = c.rd.deadline
		if bound := c.l.cfg.IdleTimeout; c.rd.limit == 0 && bound > 0 {
			c.rd.limit = c.l.after(bound)
		}
		c.postpone(c.rd.limit)
	}
}

// serve queues a job for the connection.
func (c *Conn) serve(h Handler) {
	t := c.l.newTask()
	t.conn, t.handler = c, h
	c.task = t
}

// unpark starts the job of a parked connection; reads will fail with err if it
// is not nil.
func (c *Conn) unpark(err error) {
	h := c.parked
	c.parked = nil
	c.rd.limit = 0
	c.nonblock = false
	if err != nil {
		c.failed = err
		c.rd.ready = true // what has arrived already is read before
	}
	c.serve(h)
}

// schedule makes the connection's timer expire at limit, if that is not 0, or
// earlier. Most limits are replaced by later ones before they pass: then the
// timer stays where it is, and finds out when it expires.
func (c *Conn) schedule(limit int64) {
	if limit != 0 && (c.timer.index == 0 || limit < c.timer.when) {
		c.l.setTimer(&c.timer, limit)
	}
}

// postpone is schedule for a long wait, in which a timer left where it is could
// wake the loop for nothing: one that would expire in the first half is moved.
func (c *Conn) postpone(limit int64) {
	if limit != 0 && c.timer.index != 0 && c.timer.when-c.l.now < (limit-c.l.now)/2 {
		c.l.setTimer(&c.timer, limit)
		return
	}
	c.schedule(limit)
}

// expire wakes who has waited long enough.
func (c *Conn) expire(now int64) {
	for _, s := range [...]*side{&c.rd, &c.wr} {
		switch {
		case s.limit == 0:
		case s.limit > now:
			c.schedule(s.limit)
		case s == &c.rd && c.isParked():
			c.unpark(os.ErrDeadlineExceeded)
		default:
			s.wake()
		}
	}
}

// SetDeadline sets the read and write deadlines, also for waits in progress;
// the zero time means none. Operations that have not ended by then end with
// os.ErrDeadlineExceeded. Setting a deadline makes no system call and is cheap
// enough to do before each read.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is SetDeadline for reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.failed == os.ErrDeadlineExceeded {
		c.failed = nil
	}
	return c.setDeadline(&c.rd, t, c.l.cfg.IdleTimeout)
}

// SetWriteDeadline is SetDeadline for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.wr, t, c.l.cfg.WriteTimeout)
}

func (c *Conn) setDeadline(s *side, t time.Time, bound time.Duration) error {
	if c.closed.Load() {
		return c.opError("set", net.ErrClosed)
	}
	s.deadline = c.l.at(t)
	if s.waiters == nil && (s != &c.rd || !c.isParked()) {
		return nil
	}
	s.limit = s.deadline
	if s.limit == 0 && bound > 0 {
		s.limit = c.l.after(bound)
	}
	c.schedule(s.limit)
	return nil
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
