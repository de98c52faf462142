package gnetjobs

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/panjf2000/gnet/v2"
)

// How a connection ends. Either this side closes it, with shut or fail. Then close
// runs once no callback is in progress. It sends the remaining output, calls the
// handler's OnClose, sends what that has written and a close_notify alert, and
// makes gnet close the connection, after lingering if necessary. Or gnet closes
// the connection by itself. In the end gnet calls OnClose, which leads to finish.

// shut closes the connection after the remaining output has been sent. cause is
// nil if this side closes it of its own accord.
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

// close continues closing a connection. It must not be called inside a job.
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

// closeRaw makes gnet close the connection.
func (c *conn) closeRaw() {
	h := c.host
	if c == h.callback {
		c.closeNow = true // leave will tell gnet
		return
	}
	if err := h.loop.Close(c.raw); err != nil {
		logError("closing a connection: %v", err)
	}
}

// sending reports whether the connection must stay open because it has output to
// send. If so, it makes sure that close is called again.
func (c *conn) sending() bool {
	if c.phase != phaseClosing || !c.graceful || c.raw.OutboundBuffered() == 0 {
		return false
	}
	c.resumeReading() // and discard the input: the peer may have to send before it reads
	c.pollWrites()
	return true
}

// closedByGnet is called when gnet closes the connection because of err. If the
// only reason is that the event loop ends, err is nil, and the handler may still
// send something.
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
		// Inside a job or another callback, the handler is not called and c's job
		// is not cancelled yet. It may be the job that is running.
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
	case c.paused && err == io.EOF: // gnet reports this for any end while it may not read
		c.gnetErr = os.NewSyscallError("read", syscall.ECONNRESET)
	case !errors.Is(err, io.EOF):
	case c.phase == phaseJob:
		c.readRest()
	case c.phase == phaseOpen && c.held:
		c.proceed() // with the bytes that gnet would drop
	}
	failed := err != nil || c.phase == phaseClosing && !c.graceful
	if c.phase = phaseEnding; failed {
		c.phase = phaseClosed
	}
	h.dismiss(c)
	c.finish()
}

// readRest stores what gnet has received and the job has not read, because gnet
// will drop it.
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

// finish completes the end of a connection that gnet closes.
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

// over is called when nobody uses the connection any more.
func (c *conn) over() {
	c.finished, c.gone = true, true
	c.in, c.pending = nil, nil
	if f := c.onClosed; f != nil {
		c.onClosed = nil
		f(c, nil)
	}
}

// tell reports the end, once: to the handler's OnClose, or if OnOpen has not been
// called, to OnHandshake and the caller that waits for the handshake.
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
	if c.cut { // the peer must not mistake truncated data for all of it
		return
	}
	c.tls.CloseWrite() // errors do not matter: the connection ends anyway
	c.notified = true
}

// lossError returns the reason why the connection ends, or nil if this side has
// closed it.
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
