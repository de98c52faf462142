package gnetjobs

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/jobloop/jobloop/internal/tlsio"
)

// conn is the gnet.Conn that a handler sees. gnet's own Conn, raw, is a named field
// and not embedded, so that none of its methods can send plaintext by mistake. An
// idle server has many of these, so each field costs memory.
type conn struct {
	socket
	host *host
	tls  tlsio.Conn // not used without TLS
	task *task      // its job, if it has one
	ctx  any        // the user's context

	local, remote net.Addr // never change, so that jobs' goroutines may read them

	phase    phase
	opened   bool // OnOpen has been called
	closeNow bool // to be closed when gnet's callback returns
	woken    bool // OnTraffic has to be called even if nothing has arrived
	shared   bool // in is a part of host.plaintext
	paused   bool // gnet does not read from it, as far as is known
	held     bool // its handler gets no more input for now
	graceful bool // remaining output is sent before it is closed
	ended    bool // the peer will send no more
	lost     bool // gnet closes it, because of gnetErr
	told     bool // tell has been called
	finished bool // it is ending, or lingers
	gone     bool // everybody has been told of its end
	notified bool // close_notify has been sent
	cut      bool // a job's last Write has only been sent in part
	reported bool // OnHandshake has been called
	since    int64

	in      []byte // plaintext that the handler has not read
	pending func(net.Conn) error
	dialing *dialing

	cause    error // why it is being closed
	gnetErr  error
	onClosed gnet.AsyncCallback // given to CloseWithCallback

	timeout timeout
	when    int64  // when its timer expires
	written uint64 // bytes given to gnet
	queued  int    // cost of its messages in the inbox, in bytes; guarded by the inbox's mutex

	timerIndex int32
	dropped    uint32      // bytes discarded while it lingers
	closeAsked atomic.Bool // Close has been called
	lingerSet  atomic.Bool // SetLinger determines how it is closed
}

// phase is the stage of a connection's life.
type phase uint8

const (
	phaseWaiting   phase = iota // waits for the first byte
	phaseHandshake              // has a job for its handshake, or waits for one
	phaseOpen                   // its handler gets the events
	phaseJob                    // has a job, which gets the bytes
	phaseClosing                // the remaining output is being sent
	phaseEnding                 // its handler is being told of the end
	phaseLingering              // waits for the peer to close it
	phaseClosed
)

var _ gnet.Conn = (*conn)(nil)

func newConn(h *handler, raw gnet.Conn) *conn {
	host := h.hostOf(raw.EventLoop())
	c := &conn{socket: socket{raw: raw}, host: host, ctx: raw.Context(), local: raw.LocalAddr(), remote: raw.RemoteAddr()}
	if d, ok := c.ctx.(*dialing); ok {
		c.ctx, c.dialing = d.ctx, d
		d.conn = c
	}
	raw.SetContext(c)
	if host.conns++; host.conns == 1 {
		host.inbox.setOpen(true)
	}
	return c
}

// begin is called when gnet has opened the connection.
func (c *conn) begin() {
	h := c.host.handler
	if h.cfg == nil {
		c.open()
		return
	}
	c.since = c.host.now()
	if d := h.opts.HandshakeTimeout; d > 0 {
		c.timeout.handshake = c.since + int64(d)
		c.schedule(c.timeout.handshake)
	}
	if h.client {
		c.handshake()
	}
}

// arrived is called when gnet has read bytes from the peer.
func (c *conn) arrived() {
	c.resumeReading()
	switch c.phase {
	case phaseWaiting:
		c.queueHandshake()
	case phaseHandshake, phaseJob:
		if c.task.want == wantRead {
			c.host.makeReady(c.task)
		} else {
			c.checkInbound()
		}
	case phaseOpen:
		c.proceed()
	case phaseLingering:
		c.drop()
	default:
		c.raw.Discard(-1)
	}
}

// maxHandshakeInbound is the most bytes that may wait to be read during a
// handshake. crypto/tls reads no message of more than 64 KiB.
const maxHandshakeInbound = 256 << 10

// checkInbound limits the bytes that wait to be read. It closes the connection if
// there are too many, or before that makes the peer wait.
func (c *conn) checkInbound() {
	limit := c.host.handler.opts.MaxInbound
	if c.phase == phaseHandshake && (limit == 0 || limit > maxHandshakeInbound) {
		limit = maxHandshakeInbound
	}
	n := c.raw.InboundBuffered()
	switch {
	case limit > 0 && n > limit:
		c.fail(ErrInboundFull)
	case c.phase != phaseHandshake && (n > maxUnread || limit > 0 && n > limit-2*plaintextSize):
		c.pauseReading()
	}
}

// open calls the handler's OnOpen.
func (c *conn) open() {
	h := c.host.handler
	c.phase, c.opened = phaseOpen, true
	out, action := h.EventHandler.OnOpen(c)
	if len(out) > 0 {
		c.Write(out) // an error closes the connection
	}
	c.act(action)
	c.dialed(nil)
	c.proceed()
}

// act performs the action that the handler has returned.
func (c *conn) act(a gnet.Action) {
	switch a {
	case gnet.Close:
		c.shut(nil)
	case gnet.Shutdown:
		c.host.shutdown = true
	}
}

// attend is called when there may be something to do for the connection and no
// callback is in progress.
func (c *conn) attend() {
	switch c.phase {
	case phaseClosing:
		c.close()
	case phaseClosed:
		c.host.dismiss(c)
		c.finish()
	default:
		c.proceed()
	}
}

// proceed gives the connection to a job if one is pending. Otherwise it gives the
// handler what has been received.
func (c *conn) proceed() {
	for c.phase == phaseOpen && !c.host.shutdown {
		if c.pending != nil {
			fn := c.pending
			c.pending = nil
			c.phase, c.held = phaseJob, false
			c.host.makeReady(c.host.newTask(c, fn))
			c.checkInbound()
			return
		}
		if c.hold() && !c.woken {
			c.checkInbound()
			return
		}
		var n int
		var err error
		if !c.held {
			n, err = c.fill()
		}
		if c.phase != phaseOpen {
			return // crypto/tls has sent an answer, and gnet could not send it
		}
		if n == 0 && !c.woken {
			c.readEnded(err)
			return
		}
		c.woken = false
		c.act(c.host.handler.EventHandler.OnTraffic(c))
		c.keep()
		if err != nil && c.pending == nil {
			c.readEnded(err)
			return
		}
	}
}

// fill reads what has arrived, up to the amount that a handler is shown at a time.
func (c *conn) fill() (n int, err error) {
	buf := c.host.plaintext
	for n < len(buf) && err == nil {
		var m int
		m, err = c.readNow(buf[n:])
		n += m
	}
	switch {
	case len(c.in) > 0:
		c.in = append(c.in, buf[:n]...)
	case n > 0:
		c.in, c.shared = buf[:n], true
	}
	return n, err
}

// readNow reads plaintext that has arrived. It returns tlsio.ErrWouldBlock if there
// is none, and never an error together with plaintext.
func (c *conn) readNow(p []byte) (int, error) {
	if c.host.handler.cfg != nil {
		return c.tls.Read(p)
	}
	return (*transport)(c).ReadNow(p)
}

// keep is called when OnTraffic has returned. It copies what is left unread, since
// the next OnTraffic needs the shared memory.
func (c *conn) keep() {
	switch {
	case len(c.in) == 0:
		c.in = nil
	case c.shared:
		c.in = append([]byte(nil), c.in...)
	}
	c.shared = false
	if limit := c.host.handler.opts.MaxInbound; limit > 0 && len(c.in) > limit && c.phase < phaseClosing {
		c.fail(ErrInboundFull)
	}
}

// readEnded is called with the reason why no more bytes can be read now.
func (c *conn) readEnded(err error) {
	switch {
	case err == nil || err == tlsio.ErrWouldBlock:
		c.resumeReading()
	case err == io.EOF:
		c.ended = true
		c.shut(io.EOF)
	default:
		c.fail(err)
	}
}

// Context returns the user's context.
func (c *conn) Context() any { return c.ctx }

// SetContext sets the user's context.
func (c *conn) SetContext(ctx any) { c.ctx = ctx }

// LocalAddr returns the address of this end, or nil once the connection has been
// closed.
func (c *conn) LocalAddr() net.Addr { return c.address(c.local) }

// RemoteAddr returns the address of the peer, or nil once the connection has been
// closed.
func (c *conn) RemoteAddr() net.Addr { return c.address(c.remote) }

func (c *conn) address(a net.Addr) net.Addr {
	if c.gone {
		return nil
	}
	return a
}

// SendTo is only supported for datagrams.
func (c *conn) SendTo([]byte, net.Addr) (int, error) { return 0, errorx.ErrUnsupportedOp }

// SetDeadline calls gnet's SetDeadline. gnet's connections have no deadlines.
func (c *conn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline calls gnet's SetReadDeadline.
func (c *conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline calls gnet's SetWriteDeadline.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

// opError wraps err as package net's connections do.
func (c *conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var oe *net.OpError
	if errors.As(err, &oe) {
		return err
	}
	network := "tcp"
	if c.local != nil {
		network = c.local.Network()
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}
