package loop

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
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
	began  int64         // when it was accepted
	taken  int           // bytes dropped while it lingers
	value  any

	sticky  bool // a short read does not tell that there is no more
	wrote   bool // something has been sent
	exposed bool // the descriptor has been handed out
	abort   bool // SetLinger says how it is closed
	tcp     bool

	local, remote sockaddr
}

// A connection is in one of these states. Close may be called from any
// goroutine, so that it is an atomic; all else is the loop's.
type connState = uint32

const (
	connOpen      connState = iota // a job serves it, or whoever has dialled
	connParked                     // without a job, until there is something to read
	connClosing                    // Close has been called, and the loop will see to it
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
		n, err := c.readNow(p)
		if n > 0 {
			c.moved()
		}
		if err != ErrWouldBlock {
			return n, err
		}
		if err := c.await(&c.rd, waitctx.Readable, c.l.cfg.IdleTimeout); err != nil {
			return 0, c.opError("read", err)
		}
	}
}

// readNow is Read for those who must not wait: it returns ErrWouldBlock.
func (c *Conn) readNow(p []byte) (int, error) {
	err := c.usable(&c.rd)
	switch {
	case len(p) == 0 && (err == nil || err == os.ErrDeadlineExceeded):
		return 0, nil
	case err != nil:
		return 0, c.opError("read", err)
	}
	for c.rd.ready {
		n, err := sysRead(c.fd, p)
		switch {
		case n > 0:
			if n < len(p) && !c.sticky { // what comes later, an edge will tell
				c.rd.ready = false
			}
			return n, nil
		case err == nil:
			return 0, c.readEnd()
		case interrupted(err):
		case wouldBlock(err):
			c.rd.ready = false
		default:
			return 0, c.failed("read", err)
		}
	}
	if c.reason == os.ErrDeadlineExceeded || c.reason == ErrShutdown {
		return 0, c.opError("read", c.reason)
	}
	return 0, ErrWouldBlock
}

// readEnd is what a Read ends with to which the socket has given nothing.
func (c *Conn) readEnd() error {
	if errno, ok := c.reason.(syscall.Errno); ok && errno != errnoEPIPE {
		return c.failed("read", errno) // a look has taken it from the socket
	}
	if !c.gone() {
		c.reason = io.EOF
	}
	return io.EOF
}

// failed tells of an error of the socket. It is told once: then a Read returns
// io.EOF and a Write EPIPE, as with package net.
func (c *Conn) failed(call string, err error) error {
	c.reason = errGone
	return c.opError(call, os.NewSyscallError(call, err))
}

// Write writes p, and pauses the job while the socket takes no more. It
// returns fewer than len(p) bytes only with an error. Writes that several jobs
// make at once may be mixed.
func (c *Conn) Write(p []byte) (int, error) {
	done := 0
	for {
		n, err := c.writeNow(p[done:])
		done += n
		if n > 0 {
			c.moved()
		}
		if err == nil && done == len(p) {
			return done, nil
		}
		if err == nil {
			continue
		}
		if err == ErrWouldBlock {
			if err = c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout); err == nil {
				continue
			}
			err = c.opError("write", err)
		}
		return done, err
	}
}

// writeNow writes what the socket takes. It returns ErrWouldBlock if that is
// nothing.
func (c *Conn) writeNow(p []byte) (int, error) {
	if err := c.usable(&c.wr); err != nil {
		return 0, c.opError("write", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.out) > 0 {
		return 0, ErrWouldBlock
	}
	if !c.tcp {
		// Linux gives no edge when a Unix socket whose buffer is full can no
		// longer be written to, since either end has shut it.
		c.wr.ready = true
	}
	return c.sysWrite(p)
}

// sysWrite is write(2), of fewer bytes than p has if the socket takes no more.
func (c *Conn) sysWrite(p []byte) (int, error) {
	if errno, ok := c.reason.(syscall.Errno); ok && c.tcp { // a look has taken it from the socket
		return 0, c.failed("write", errno)
	}
	if c.gone() {
		// The kernel would say the same, and send SIGPIPE. crypto/tls says
		// goodbye on every connection.
		return 0, c.opError("write", os.NewSyscallError("write", errnoEPIPE))
	}
	for c.wr.ready {
		n, err := sysWrite(c.fd, p)
		switch {
		case n > 0:
			c.wrote = true
			return n, nil
		case err == nil:
			return 0, c.opError("write", io.ErrUnexpectedEOF)
		case interrupted(err):
		case wouldBlock(err):
			c.wr.ready = false
		default:
			if isErrno(err, errnoEPIPE) { // this side has been shut, perhaps
				return 0, c.opError("write", os.NewSyscallError("write", err))
			}
			return 0, c.failed("write", err)
		}
	}
	return 0, ErrWouldBlock
}

// send sends p after what waits to be sent, and keeps what the socket does not
// take: the loop will send it.
func (c *Conn) send(p []byte) error {
	for len(c.out) > 0 {
		n, err := c.sysWrite(c.out)
		if err == ErrWouldBlock {
			c.out = append(c.out, p...)
			return nil
		}
		if err != nil {
			c.out = nil
			return err
		}
		if c.out = c.out[n:]; len(c.out) == 0 {
			c.out = nil
		}
	}
	for len(p) > 0 {
		n, err := c.sysWrite(p)
		if err == ErrWouldBlock {
			c.out = append(c.out, p...)
			return nil
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// sendKept sends what send has kept. An error is for the next one to be told
// who writes.
func (c *Conn) sendKept() {
	if len(c.out) == 0 {
		return
	}
	var errno syscall.Errno
	if err := c.send(nil); errors.As(err, &errno) {
		c.reason = errno
	}
}

// usable says why an operation must not begin, if so.
func (c *Conn) usable(s *side) error {
	switch {
	case c.state.Load() >= connClosing:
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
	t := l.current
	if t == nil || !t.job.Inside() {
		return l.outside()
	}
	end := int64(0) // of this wait; another job may wait here too, until another time
	if bound > 0 {
		end = l.after(bound)
	}
	c.within(s, end)
	t.waitNext = s.waiters
	s.waiters = t
	t.waitsFor = c
	defer t.waited(s)
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
		if s.deadline == 0 && end != 0 && end <= l.now {
			return os.ErrDeadlineExceeded
		}
		c.within(s, end)
	}
}

// within has the waits on side s looked at when its deadline passes, or if it has
// none at end, unless that is done earlier.
func (c *Conn) within(s *side, end int64) {
	if s.deadline != 0 {
		end = s.deadline
	}
	if end != 0 && (s.limit <= c.l.now || end < s.limit) { // 0 is the past
		s.limit = end
		c.schedule(end)
	}
}

func (t *task) waited(s *side) {
	t.waitsFor = nil
	s.remove(t)
}

// outside is why a call that is not made inside the running job cannot wait.
func (l *Loop) outside() error {
	if l.current == nil && l.here() {
		return ErrWouldBlock
	}
	return ErrNotInJob
}

// here reports whether the caller is inside the running job, or if there is none
// on the loop's goroutine. On another goroutine the answer is no, but asking is a
// data race, as the call that asks is: see onLoop.
func (l *Loop) here() bool {
	if t := l.current; t != nil {
		return t.job.Inside()
	}
	g := l.goroutine.Load()
	return g == 0 || g == goroutine.ID()
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
			if err == nil && s == &c.wr {
				c.sendKept() // the loop cannot
			}
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
