package gnetjobs

import (
	"context"
	"fmt"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// When more comes than an event loop can do, work in progress goes first. A
// server's handshakes wait in a queue and begin a few at a time. In between gnet
// polls, and so serves the connections whose handshake is done, and lets those
// handshakes go on that have begun. A handshake that goes on has no such bound:
// no more of them come back than have been begun.
//
// gnet polls when it has executed all that it was given to execute. Within Run it
// is executing, so a handshake there delays all that the sockets have. A turn is
// a call of Run after a poll.

// turnTime is for how long handshakes begin in one turn, in nanoseconds. At least
// one begins, however long it takes: an RSA-2048 signature takes 700 µs. A turn
// costs system calls, so it should be worth some handshakes if these are cheap.
const turnTime = 200_000

// order is a host's queue of handshakes that have not begun, and when to begin
// them.
type order struct {
	waiting     taskList
	admission   *admission.Queue // nil: nobody is turned away
	handshaking int              // handshakes that have begun and not ended
	running     int              // jobs that have, these included

	inPoll   bool  // the callback in progress is of gnet's poll
	turn     turn  // the next one
	spent    int64 // what beginning handshakes has taken since the last poll that is known of
	until    int64 // when that ended
	lastTask gnet.RunnableFunc
	executed uint64 // host.events when lastTask was given to gnet
}

// turn is what has been done to get a turn.
type turn uint8

const (
	turnNone   turn = iota
	turnLater       // asked for within what gnet executes
	turnPosted      // gnet is going to execute Run
)

func (o *order) init(h *host) {
	o.lastTask = h.executedAll
	if d := h.handler.opts.MaxWait; d > 0 {
		o.admission = admission.New(d)
	}
}

// queueHandshake has the handshake begin in its turn.
func (c *conn) queueHandshake() {
	h := c.host
	c.phase = phaseHandshake
	t := h.newTask(c, nil)
	t.came = h.now()
	h.waiting.push(t)
}

// mayBegin reports whether a handshake waits, and may begin.
func (h *host) mayBegin() bool {
	o := &h.handler.opts
	return h.waiting.head != nil && !h.shutdown &&
		(o.MaxHandshakes == 0 || h.handshaking < o.MaxHandshakes) &&
		(o.MaxJobs == 0 || h.running < o.MaxJobs)
}

// beginHandshakes begins handshakes for turnTime. If no turn has to be waited
// for, it does so within the callback that a ClientHello has come with: a
// server that has little to do has no turns.
func (h *host) beginHandshakes() {
	if h.turn != turnNone || !h.mayBegin() {
		return
	}
	now := h.now()
	if now-h.until >= h.spent { // others had as much time
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

// beginNext begins the handshake that has waited longest, or turns its client
// away. An idle loop does not ask the kernel about the client, which has not
// waited: that is a system call.
func (h *host) beginNext(now int64, idle bool) {
	t := h.waiting.pop()
	c := t.conn
	wait := now - t.came
	var info tcpinfo.Waiting
	if !idle {
		var known bool
		if info, known = tcpinfo.Of(c.raw.Fd()); known { // before gnet accepted it, it waited in the kernel
			wait += max(int64(info.Age)-(now-c.since), 0)
		}
	}
	switch {
	case info.Ended:
		h.gone(wait)
		c.fail(ErrClientGone)
	case !h.admit(wait):
		c.raw.SetLinger(0) // reset, so that nothing is kept of it
		c.fail(ErrOverloaded)
	default:
		c.setTLS()
		h.makeReady(t)
	}
}

// admit reports whether to serve a client that has left the queue to be served.
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

// gone is told that a client has left the queue which is not to be served.
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

// leftQueue is told that gnet closes the connection, for err. If its handshake
// has not begun it says so.
func (c *conn) leftQueue(err error) {
	t := c.task
	if err == nil || t == nil || t.list != &c.host.waiting || c.phase >= phaseClosing {
		return
	}
	c.cause = fmt.Errorf("%w: %w", ErrClientGone, err)
}

// requestTurn has Run called after gnet's next poll, if handshakes are left that
// may begin.
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

// turnCame is called when gnet has polled since the turn was asked for.
func (h *host) turnCame() { h.turn, h.spent = turnNone, 0 }

// gnet executes what comes while it executes before it polls. So the next turn
// must not be asked for before nothing else is left, and by another goroutine. If
// that takes its time, a callback of gnet's poll may be first.

// executeLast has executedAll called after all that gnet has to execute now.
func (h *host) executeLast() {
	h.executed = h.events
	if h.loop.Execute(h.ctx, h.lastTask) != nil {
		h.turn = turnNone // the loop ends
	}
}

func (h *host) executedAll(context.Context) error {
	switch {
	case h.turn != turnLater:
	case h.events != h.executed: // and more may have come meanwhile
		h.executeLast()
	default:
		h.wakeLater()
	}
	return nil
}
