package gnetjobs

import (
	"context"
	"fmt"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// Under overload, work in progress goes first. A server's handshakes wait in a
// queue and begin a few at a time. In between, gnet polls: it serves the
// connections whose handshake is done, and continues the handshakes that have
// begun. Continued handshakes need no limit of their own, because there are never
// more of them than have begun.
//
// gnet polls once it has executed everything that it was given to execute. Run is
// such an execution, so a handshake in Run delays everything that the sockets have.
// A turn is a call of Run after a poll.

// turnTime is for how long handshakes begin in one turn, in nanoseconds. At least
// one begins, however long it takes: an RSA-2048 signature takes 700 µs. A turn
// costs system calls, so it should cover several handshakes if these are cheap.
const turnTime = 200_000

// order holds a host's queue of handshakes that have not begun, and decides when
// they begin.
type order struct {
	waiting     taskList
	admission   *admission.Queue // nil: nobody is turned away
	handshaking int              // handshakes that have begun and not ended
	running     int              // jobs that have begun and not ended, handshakes included

	inPoll   bool  // the callback in progress comes from gnet's poll
	turn     turn  // state of the next turn
	spent    int64 // time spent beginning handshakes since the last known poll
	until    int64 // when the last handshake had begun
	lastTask gnet.RunnableFunc
	executed uint64 // host.events when lastTask was given to gnet
}

// turn is how far the request for a turn has got.
type turn uint8

const (
	turnNone   turn = iota
	turnLater       // requested while gnet executes, to be posted later
	turnPosted      // gnet has been asked to execute Run
)

func (o *order) init(h *host) {
	o.lastTask = h.executedAll
	if d := h.handler.opts.MaxWait; d > 0 {
		o.admission = admission.New(d)
	}
}

// queueHandshake queues a server's handshake.
func (c *conn) queueHandshake() {
	h := c.host
	c.phase = phaseHandshake
	t := h.newTask(c, nil)
	t.came = h.now()
	h.waiting.push(t)
}

// mayBegin reports whether a handshake is waiting and may begin.
func (h *host) mayBegin() bool {
	o := &h.handler.opts
	return h.waiting.head != nil && !h.shutdown &&
		(o.MaxHandshakes == 0 || h.handshaking < o.MaxHandshakes) &&
		(o.MaxJobs == 0 || h.running < o.MaxJobs)
}

// beginHandshakes begins handshakes for turnTime, unless a turn has been requested.
// A server with little to do needs no turns: a handshake begins in the callback
// with which its ClientHello arrived.
func (h *host) beginHandshakes() {
	if h.turn != turnNone || !h.mayBegin() {
		return
	}
	now := h.now()
	if now-h.until >= h.spent { // other work has had as much time since
		h.spent = 0
	}
	if q := h.admission; q != nil && q.Due(now) {
		q.Next(now, h.waiting.n)
	}
	for h.spent < turnTime && h.mayBegin() {
		idle := h.inPoll && h.spent == 0
		h.beginNext(now, idle)
		h.runReady()
		h.until = h.now()
		h.spent += h.until - now
		now = h.until
	}
}

// beginNext begins the handshake that has waited longest, or turns its client away.
// If the loop is idle, the client has not waited, and the system call that asks the
// kernel about it is saved.
func (h *host) beginNext(now int64, idle bool) {
	t := h.waiting.pop()
	c := t.conn
	wait := now - t.came
	var info tcpinfo.Waiting
	if !idle {
		var known bool
		if info, known = tcpinfo.Of(c.raw.Fd()); known { // add its wait in the kernel before gnet accepted it
			wait += max(int64(info.Age)-(now-c.since), 0)
		}
	}
	switch {
	case info.Ended:
		h.gone(wait)
		c.fail(ErrClientGone)
	case !h.admit(wait):
		c.raw.SetLinger(0) // reset it, so that the kernel keeps nothing
		c.fail(ErrOverloaded)
	default:
		c.setTLS()
		h.makeReady(t)
	}
}

// admit reports whether to serve a client that has reached the head of the queue.
func (h *host) admit(wait int64) bool {
	q := h.admission
	if q == nil {
		return true
	}
	ok := q.Leave(wait)
	if h.waiting.head == nil {
		q.Empty()
	}
	return ok
}

// gone is called when a client that will not be served has left the queue.
func (h *host) gone(wait int64) {
	q := h.admission
	if q == nil {
		return
	}
	q.Gone(wait)
	if h.waiting.head == nil {
		q.Empty()
	}
}

// leftQueue is called when gnet closes the connection because of err. If the
// handshake has not begun, it makes ErrClientGone the cause.
func (c *conn) leftQueue(err error) {
	t := c.task
	if err == nil || t == nil || t.list != &c.host.waiting || c.phase >= phaseClosing {
		return
	}
	c.cause = fmt.Errorf("%w: %w", ErrClientGone, err)
}

// requestTurn makes sure that Run is called after gnet's next poll, if handshakes
// are left that may begin.
func (h *host) requestTurn() {
	switch {
	case !h.mayBegin():
	case h.inPoll && h.turn != turnPosted:
		h.turn = turnPosted
		h.wake(wakeTurn)
	case h.turn == turnNone:
		h.turn = turnLater
		h.executeLast()
	}
}

// turnCame is called when gnet has polled since the turn was requested.
func (h *host) turnCame() { h.turn, h.spent = turnNone, 0 }

// Functions that gnet is given while it is executing are executed before it polls.
// So the next turn must be requested from another goroutine, and only when nothing
// else is left to execute. If that goroutine takes long, a callback of gnet's poll
// may come first.

// executeLast makes gnet call executedAll after everything that it has to execute
// now.
func (h *host) executeLast() {
	h.executed = h.events
	if h.loop.Execute(h.ctx, h.lastTask) != nil {
		h.turn = turnNone // the loop is ending
	}
}

func (h *host) executedAll(context.Context) error {
	switch {
	case h.turn != turnLater:
	case h.events != h.executed: // something else was executed, and more may have come
		h.executeLast()
	default:
		h.wakeLater()
	}
	return nil
}
