package gnetjobs

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// How a connection ends. Either this side closes it, with shut or fail. Then
// close, when no callback is in progress, sends what waits to be sent, tells the
// handler, whose last words and a close_notify alert are sent too, and has gnet
// close it, after it has lingered if need be. Or gnet does so by itself. In the
// end gnet calls OnClose, which leads to finish.

// shut closes the connection when what waits to be sent has been; cause is nil
// if nobody but this side wanted that.
func (c *conn) shut(cause error) { c.end(cause, true) }

// fail closes the connection without waiting for anything to be sent.
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
	c.host.dismiss(c)
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
	case c.mustLinger() && shutdownWrite(c.raw.Fd()) == nil:
		c.linger()
	default:
		c.closeRaw()
	}
}

// closeRaw has gnet close the connection.
func (c *conn) closeRaw() {
	h := c.host
	if c == h.callback {
		c.closeNow = true // leave says so
		return
	}
	if err := h.loop.Close(c.raw); err != nil {
		logging.Errorf("gnetjobs: closing a connection: %v", err)
	}
}

// sending reports whether the connection has to stay because there is something
// to be sent, and has that watched.
func (c *conn) sending() bool {
	if c.phase != phaseClosing || !c.graceful || c.raw.OutboundBuffered() == 0 {
		return false
	}
	c.resumeReading() // and drop it: the peer may have to send before it reads
	c.pollWrites()
	return true
}

// closedByGnet is called when gnet closes the connection, err being its
// reason. If that is nothing but the end of the event loop, its handler may
// send something still.
func (c *conn) closedByGnet(err error) {
	h := c.host
	t := c.task
	c.unschedule()
	if c.phase == phaseLingering {
		c.phase = phaseClosed
		h.lingering--
		h.conns--
		return
	}
	c.lost, c.gnetErr = true, err
	c.leftQueue(err)
	if h.current != nil || h.depth > 1 && t != nil && t.begun() {
		// Inside a job, or another callback, neither the handler is told nor
		// c's job cancelled. It may be the one that runs.
		c.phase = phaseClosed
		if t != nil && t.begun() {
			t.cancel = true
			h.makeReady(t)
		} else {
			h.look(c)
		}
		return
	}
	switch {
	case c.paused && err == io.EOF: // what gnet says of any end when it may not read
		c.gnetErr = os.NewSyscallError("read", syscall.ECONNRESET)
	case !errors.Is(err, io.EOF):
	case c.phase == phaseJob:
		c.readRest()
	case c.phase == phaseOpen && c.held:
		c.proceed() // with what gnet would drop
	}
	failed := err != nil || c.phase == phaseClosing && !c.graceful
	if c.phase = phaseEnding; failed {
		c.phase = phaseClosed
	}
	h.dismiss(c)
	c.finish()
}

// readRest keeps what gnet has received and the job has not read: gnet will
// drop it.
func (c *conn) readRest() {
	limit := c.host.handler.opts.MaxInbound
	for limit == 0 || len(c.in) < limit {
		n, err := c.readNow(c.host.plaintext)
		c.in = append(c.in, c.host.plaintext[:n]...)
		if err != nil {
			c.ended = c.ended || err == io.EOF
			return
		}
	}
}

// finish is the end of a connection that gnet closes.
func (c *conn) finish() {
	if c.finished {
		return
	}
	c.finished = true
	c.tell()
	if c.phase == phaseEnding {
		c.notify()
	}
	c.phase = phaseClosed
	c.host.conns--
	c.over()
}

// over is called when nobody has to do with the connection any more.
func (c *conn) over() {
	c.finished, c.gone = true, true
	c.in, c.pending = nil, nil
	if f := c.onClosed; f != nil {
		c.onClosed = nil
		f(c, nil)
	}
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
	if c.host.handler.cfg == nil || c.notified || !c.opened || c.phase == phaseClosed {
		return
	}
	if c.cut { // the peer must not take a part for the whole
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
