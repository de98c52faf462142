package gnetjobs

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// How a connection ends. Either this side closes it, with shut or fail. Then
// close, when no callback is in progress, sends what waits to be sent, tells the
// handler, whose last words and a close_notify alert are sent too, and has gnet
// close it. Or gnet does so by itself. In the end gnet calls OnClose, which
// leads to finish.

// shut closes the connection when what waits to be sent has been; cause is nil
// if nobody but this side wanted that.
func (c *conn) shut(cause error) { c.end(cause, true) }

// fail closes the connection, with what waits to be sent.
func (c *conn) fail(cause error) { c.end(cause, false) }

func (c *conn) end(cause error, graceful bool) {
	switch {
	case c.phase < phaseClosing:
		c.phase, c.cause, c.graceful = phaseClosing, cause, graceful
	case c.phase == phaseClosing && c.graceful && !graceful:
		c.cause, c.graceful = cause, false
	default:
		return
	}
	c.host.look(c)
}

// close goes on with the end of a connection. It is not called inside a job.
func (c *conn) close() {
	h := c.host
	h.dismiss(c)
	if c.sending() {
		return
	}
	if c.phase == phaseClosing && c.graceful && !c.told {
		c.phase = phaseEnding
		c.tell()
		c.notify()
		if c.phase == phaseEnding {
			c.phase = phaseClosing
		}
		if c.sending() {
			return
		}
	}
	switch {
	case c.phase != phaseClosing: // gnet has closed it
	case c == h.callback:
		c.closeNow = true // leave says so
	default:
		if err := h.loop.Close(c.raw); errors.Is(err, errorx.ErrEngineShutdown) {
			h.shutdown = true
		} else if err != nil {
			logging.Errorf("gnetjobs: closing a connection: %v", err)
		}
	}
}

// sending reports whether the connection has to stay because there is something
// to be sent, and has that watched.
func (c *conn) sending() bool {
	if c.phase != phaseClosing || !c.graceful || c.raw.OutboundBuffered() == 0 {
		return false
	}
	c.pollWrites()
	return true
}

// closedByGnet is called when gnet closes the connection, err being its
// reason. If that is nothing but the end of the event loop, its handler may
// send something still.
func (c *conn) closedByGnet(err error) {
	h := c.host
	c.unschedule()
	c.lost, c.gnetErr = true, err
	failed := err != nil || c.phase == phaseClosing && !c.graceful
	if c.phase = phaseEnding; failed {
		c.phase = phaseClosed
	}
	if t := c.task; t != nil && h.current != nil && t.begun() {
		// Inside a job: that of the connection, which has written, goes on
		// until it pauses, and another's has to wait until this one has.
		c.phase = phaseClosed
		t.cancel = true
		h.makeReady(t)
		return
	}
	h.dismiss(c)
	c.finish()
}

// finish is the end of a connection that gnet closes.
func (c *conn) finish() {
	if c.finished {
		return
	}
	c.finished = true
	h := c.host
	c.tell()
	if c.phase == phaseEnding {
		c.notify()
	}
	c.phase = phaseClosed
	c.local, c.remote, c.in, c.pending = nil, nil, nil, nil
	h.conns--
	for _, f := range c.onClosed {
		f(c, nil)
	}
	c.onClosed = nil
}

// tell calls the handler's OnClose, or whoever waits for the handshake, once.
func (c *conn) tell() {
	if c.told {
		return
	}
	c.told = true
	h := c.host
	err := c.lossError()
	if c.opened {
		if h.handler.EventHandler.OnClose(c, err) == gnet.Shutdown {
			h.shutdown = true
		}
		return
	}
	if err == nil {
		err = net.ErrClosed
	}
	c.report(err)
	c.dialed(err)
}

// notify sends a close_notify alert.
func (c *conn) notify() {
	if c.tls == nil || c.notified || !c.opened || c.phase == phaseClosed {
		return
	}
	c.tls.CloseWrite() // an error is that of a connection which ends anyway
	c.notified = true
}

// lossError says why the connection ends, nil if it was closed by this side.
func (c *conn) lossError() error {
	switch {
	case c.cause != nil || c.graceful:
		return c.cause
	case c.host.handler.cfg != nil && errors.Is(c.gnetErr, io.EOF):
		if c.ended {
			return io.EOF
		}
		return errTruncated
	}
	return c.gnetErr
}

// timeout is what a connection's place among the timers is for. The times are
// on the host's clock, and 0 if there is nothing to be done.
type timeout struct {
	handshake int64
	stall     int64  // when the peer has to have taken something
	taken     uint64 // what it had taken before
	poll      int64  // when to look whether it has taken enough
	step      int64  // between two such looks
}

// gnet does not tell when it has sent what it keeps. So that is looked at,
// after a time that grows from the first of these to the second.
const (
	minPollWrites = int64(200 * time.Microsecond)
	maxPollWrites = int64(10 * time.Millisecond)
)

// pollWrites has the connection looked at until enough has been sent: for its
// job to go on writing, or to close it.
func (c *conn) pollWrites() {
	t := &c.timeout
	if t.poll == 0 {
		t.step = minPollWrites
		t.poll = c.host.now() + t.step
		c.schedule(t.poll)
	}
}

// watchWrites begins to watch whether the peer takes what is sent.
func (c *conn) watchWrites() {
	d := c.host.handler.opts.WriteTimeout
	if d == 0 || c.timeout.stall != 0 || c.phase >= phaseEnding {
		return
	}
	if n := c.raw.OutboundBuffered(); n > 0 {
		c.timeout.taken = c.written - uint64(n)
		c.timeout.stall = c.host.now() + int64(d)
		c.schedule(c.timeout.stall)
	}
}

// expire does what is due.
func (c *conn) expire(now int64) {
	t := &c.timeout
	if t.handshake != 0 && t.handshake <= now {
		t.handshake = 0
		c.fail(ErrHandshakeTimeout)
	}
	out := c.raw.OutboundBuffered()
	if t.poll != 0 && t.poll <= now {
		c.polled(now, out)
	}
	if t.stall != 0 && t.stall <= now {
		taken := c.written - uint64(out)
		switch {
		case out == 0:
			t.stall = 0
		case taken == t.taken:
			t.stall = 0
			c.fail(ErrWriteTimeout)
		default:
			t.taken, t.stall = taken, now+int64(c.host.handler.opts.WriteTimeout)
		}
	}
	c.schedule(t.handshake)
	c.schedule(t.poll)
	c.schedule(t.stall)
	if j := c.task; j != nil && j.limit != 0 {
		if j.limit <= now {
			c.host.makeReady(j)
		} else {
			c.schedule(j.limit)
		}
	}
}

// polled looks at what is left to be sent.
func (c *conn) polled(now int64, out int) {
	t := &c.timeout
	t.poll = 0
	switch {
	case c.phase == phaseClosing && out == 0:
		c.host.look(c)
	case c.phase == phaseClosing, c.wantsToWrite() && out > lowWater:
		t.step = min(2*t.step, maxPollWrites)
		t.poll = now + t.step
	case c.wantsToWrite():
		c.host.makeReady(c.task)
	}
}

func (c *conn) wantsToWrite() bool { return c.task != nil && c.task.want == wantWrite }
