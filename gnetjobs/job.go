package gnetjobs

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/internal/tlsio"
	"github.com/jobloop/jobloop/jobs"
)

// Job runs fn as a job on c's event loop. fn is code that blocks, such as
// fasthttp.Server's ServeConn. It starts when the callback in which Job is called
// has returned, or at once if Job is called in a function that gnet's EventLoop
// executes. If Options.MaxJobs jobs are running, fn waits until one has ended.
//
// The net.Conn that fn gets pauses the job where it would block. It is only for fn:
// on goroutines that fn starts, and after fn has returned, its methods return an
// error. With TLS it also has the methods ConnectionState, Handshake and CloseWrite
// of a tls.Conn.
//
// While fn runs, the handler gets no OnTraffic. When fn returns nil, events
// continue, at once if bytes are left. If fn returns an error or panics, the
// connection is closed, and OnClose gets the error. If the connection closes while
// fn runs, whatever fn waits for ends with an error. If it closes before fn has
// started, fn is not called.
//
// Whatever else fn waits for must pause the job instead of blocking the event
// loop, as the keys of engines do: see [JobContext].
//
// Job is for the event loop's goroutine. It returns ErrNotWrapped, ErrJobRunning or
// net.ErrClosed if it cannot run fn.
func Job(c gnet.Conn, fn func(net.Conn) error) error {
	w, ok := c.(*conn)
	switch {
	case fn == nil:
		return errors.New("gnetjobs: Job: fn is nil")
	case !ok:
		return ErrNotWrapped
	case w.phase >= phaseClosing:
		return net.ErrClosed
	case w.pending != nil || w.phase == phaseJob:
		return ErrJobRunning
	}
	w.pending = fn
	w.host.look(w)
	return nil
}

// JobContext returns a context that carries the job to the code inside it. nc is
// the net.Conn that [Job] gave to its function. Inside the job, jobs.FromContext
// and the keys of engines find the job in the context, for example in a tls.Conn's
// HandshakeContext. For any other net.Conn, JobContext returns context.Background.
//
// A job that calls Pause itself is resumed when the callback in its wait context is
// called. If it has not taken the callback, it is resumed every millisecond,
// whatever descriptors it waits for.
func JobContext(nc net.Conn) context.Context {
	if n, ok := nc.(interface{ self() *jobConn }); ok && !n.self().done.Load() {
		j := n.self()
		return jobs.NewContext(j.conn.host.ctx, j.job)
	}
	return context.Background()
}

// jobEnded is called when the job of a function given to Job has ended.
func (c *conn) jobEnded(err error) {
	switch {
	case c.phase != phaseJob: // it is being closed
	case err != nil:
		c.shut(err)
	case c.ended:
		c.shut(io.EOF)
	default:
		c.phase = phaseOpen
		c.woken = c.woken || len(c.in) > 0
		c.host.look(c)
	}
}

// highWater returns how many bytes gnet may keep before a Write in a job waits. It
// waits until gnet keeps no more than lowWater.
func (h *host) highWater() int {
	const most = 256 << 10
	if limit := h.handler.opts.MaxOutbound; limit > 0 {
		return min(limit, most)
	}
	return most
}

func (h *host) lowWater() int { return h.highWater() / 4 }

// jobConn is the net.Conn of a function given to Job.
type jobConn struct {
	conn   *conn // must not be used outside the job
	job    jobs.Job
	rd, wr int64       // deadlines, on the host's clock; 0: none
	done   atomic.Bool // the function has returned
}

var _ net.Conn = (*jobConn)(nil)

func (j *jobConn) self() *jobConn { return j }

// inside returns nil if the caller may use j, or the reason why not. It may be
// called from any goroutine. A goroutine that the job has started must not pause
// the job, because that would end the process.
func (j *jobConn) inside() error {
	switch {
	case j.job.Inside() && !j.done.Load():
		return nil
	case j.done.Load():
		return net.ErrClosed
	}
	return ErrNotInJob
}

// usable returns nil if an operation with the deadline may begin, or the reason why
// not.
func (j *jobConn) usable(deadline int64) error {
	if err := j.inside(); err != nil {
		return err
	}
	if deadline != 0 && deadline <= j.conn.host.now() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Read reads into p, and pauses the job until there is something to read.
func (j *jobConn) Read(p []byte) (int, error) {
	n, err := j.read(p)
	return n, j.conn.opError("read", err)
}

func (j *jobConn) read(p []byte) (int, error) {
	c := j.conn
	idle := int64(0)
	for {
		if err := j.usable(j.rd); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if n := copy(p, c.in); n > 0 {
			c.consume(n)
			return n, nil
		}
		if c.phase >= phaseClosing {
			return 0, c.readError()
		}
		n, err := c.readNow(p)
		if n > 0 {
			return n, nil
		}
		if err != tlsio.ErrWouldBlock {
			c.ended = c.ended || err == io.EOF
			return 0, err
		}
		limit := j.rd
		if d := c.host.handler.opts.IdleTimeout; limit == 0 && d > 0 {
			if idle == 0 {
				idle = c.host.now() + int64(d)
			} else if idle <= c.host.now() {
				return 0, os.ErrDeadlineExceeded
			}
			limit = idle
		}
		c.resumeReading()
		if err := c.task.await(wantRead, limit); err != nil {
			if c.phase >= phaseClosing {
				err = c.readError()
			}
			return 0, err
		}
	}
}

// Write writes p, and pauses the job while too much is waiting to be sent.
func (j *jobConn) Write(p []byte) (int, error) {
	n, err := j.write(p)
	if j.inside() == nil {
		j.conn.cut = n < len(p)
	}
	return n, j.conn.opError("write", err)
}

func (j *jobConn) write(p []byte) (int, error) {
	c := j.conn
	for done := 0; ; {
		if err := j.usable(j.wr); err != nil {
			return done, err
		}
		if c.phase >= phaseClosing {
			return done, c.writeError()
		}
		if c.raw.OutboundBuffered() > c.host.highWater() && !j.job.PauseBlocked() {
			c.pollWrites()
			if err := c.task.await(wantWrite, j.wr); err != nil {
				if c.phase >= phaseClosing {
					err = c.writeError()
				}
				return done, err
			}
			continue
		}
		n, err := c.Write(p[done:min(len(p), done+tlsio.SealSize)])
		if done += n; err != nil || done == len(p) {
			return done, err
		}
	}
}

// writeError returns the error for a write to a connection that is being closed.
func (c *conn) writeError() error {
	if c.cause != nil && c.cause != io.EOF {
		return c.cause
	}
	return net.ErrClosed
}

// Close closes the connection after what has been written has been sent.
func (j *jobConn) Close() error {
	err := j.inside()
	if err == nil && j.conn.phase >= phaseClosing {
		err = net.ErrClosed
	}
	if err != nil {
		return j.conn.opError("close", err)
	}
	j.conn.shut(nil)
	return nil
}

func (j *jobConn) LocalAddr() net.Addr  { return j.conn.local }
func (j *jobConn) RemoteAddr() net.Addr { return j.conn.remote }

// SetDeadline sets both deadlines. The zero time means no deadline.
func (j *jobConn) SetDeadline(t time.Time) error {
	if err := j.SetReadDeadline(t); err != nil {
		return err
	}
	return j.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of later Reads.
func (j *jobConn) SetReadDeadline(t time.Time) error { return j.setDeadline(&j.rd, t) }

// SetWriteDeadline sets the deadline of later Writes.
func (j *jobConn) SetWriteDeadline(t time.Time) error { return j.setDeadline(&j.wr, t) }

func (j *jobConn) setDeadline(d *int64, t time.Time) error {
	if err := j.usable(0); err != nil {
		return j.conn.opError("set", err)
	}
	if *d = 0; !t.IsZero() {
		*d = j.conn.host.at(t)
	}
	return nil
}

// tlsJobConn is a jobConn with the methods of tls.Conn that libraries look for.
type tlsJobConn struct{ *jobConn }

// ConnectionState returns what tls.Conn's method would.
func (j *tlsJobConn) ConnectionState() tls.ConnectionState { return j.conn.tls.State() }

// Handshake returns nil, since the handshake has been done.
func (j *tlsJobConn) Handshake() error { return nil }

// CloseWrite sends a close_notify alert. Reads continue to work.
func (j *tlsJobConn) CloseWrite() error {
	if err := j.usable(0); err != nil {
		return j.conn.opError("close", err)
	}
	if j.conn.phase >= phaseClosing {
		return j.conn.opError("close", j.conn.writeError())
	}
	j.conn.notify()
	return nil
}
