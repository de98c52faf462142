package loop

import (
	"log/slog"
	"time"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// A connection waits twice: in the kernel, to be accepted, and with the loop, to
// be served. Both queues are first come, first served, and each has a record that
// says when somebody who has waited too long is turned away (see package
// admission). The kernel's is made shorter meanwhile.

// maxTurnedAway is the most connections that a listener turns away in a turn.
const maxTurnedAway = 32

// newQueue returns the record of a queue, nil if clients may wait for ever.
func (l *Loop) newQueue() *admission.Queue {
	if l.cfg.MaxWait < 0 {
		return nil
	}
	return admission.New(l.cfg.MaxWait)
}

// admit decides about a connection that has just been accepted, and says how
// long it has waited. The queue in the kernel is first come, first served.
func (n *Listener) admit(fd int) (age time.Duration, ok bool) {
	if n.queue == nil {
		return 0, true
	}
	w, known := tcpinfo.Of(fd)
	if !known {
		return 0, true
	}
	c := &n.l.counts
	_, tls := n.handler.(*TLSHandler)
	switch {
	case w.Closed || w.Ended && tls: // without TLS it may have asked, and wait for the answer
		n.queue.Gone(int64(w.Age))
		c.Gone++
		return 0, false
	case !n.queue.Leave(int64(w.Age)):
		c.Shed++
		return 0, false
	}
	return w.Age, true
}

// review looks at the queue in the kernel from time to time.
func (n *Listener) review() {
	l := n.l
	q := n.queue
	if q == nil || !n.registered || !q.Due(l.now) {
		return
	}
	kernel, ok := tcpinfo.QueueOf(n.fd)
	if !ok {
		return
	}
	n.kernelQueue(kernel.Waiting)
	l.counts.BacklogDrops += uint64(kernel.Dropped - n.dropped)
	n.dropped = kernel.Dropped
	was := q.Limit()
	q.Next(l.now, kernel.Waiting)
	switch limit := q.Limit(); {
	case limit == was:
	case limit == 0:
		n.setBacklog(n.backlog)
	default:
		n.setBacklog(min(limit, n.backlog))
	}
	if q.Over() { // it has to end, even if nobody comes any more
		l.setTimer(&n.reviews, l.after(2*l.cfg.MaxWait))
	}
}

// kernelQueue notes how many connections wait in the kernel.
func (n *Listener) kernelQueue(waiting int) {
	n.l.counts.Backlog += uint64(waiting) - uint64(n.waiting)
	n.waiting = waiting
}

// setBacklog changes how many connections may wait in the kernel.
func (n *Listener) setBacklog(limit int) {
	if err := sysBacklog(n.fd, limit); err != nil {
		n.l.warn("cannot change the backlog", slog.String("address", n.addr.String()), slog.Any("error", err))
	}
}

// reviewTimer is the timer of a Listener's queue.
type reviewTimer Listener

func (n *reviewTimer) expire(int64) { (*Listener)(n).review() }

// goneAfter is how long a connection has to have waited with the loop for it to
// be asked whether its client is still there.
const goneAfter = int64(5 * time.Millisecond)

// startNew starts the job of a new connection, if it is not too late.
func (l *Loop) startNew(t *task) {
	c, q := t.conn, l.queue
	if c == nil { // it was overdue
		l.start(t)
		return
	}
	now := l.clock()
	wait := now - t.since
	if q != nil {
		if q.Due(now) {
			q.Next(now, l.fresh.n+1)
		}
		gone := c.gone()
		if wait > goneAfter && !gone && c.tcp {
			w, _ := tcpinfo.Of(c.fd)
			gone = w.Closed || w.Ended && c.tls != nil
		}
		all := wait + c.waited
		switch {
		case gone:
			q.Gone(all)
			l.counts.Gone++
			l.turnAway(t, errClientGone)
			return
		case !q.Leave(all):
			l.counts.Shed++
			l.turnAway(t, ErrOverloaded)
			return
		}
		if l.fresh.n == 0 {
			q.Empty()
		}
	}
	l.counts.countWait(time.Duration(wait + c.waited))
	l.start(t)
}

// turnAway ends a connection whose job has not begun.
func (l *Loop) turnAway(t *task, why error) {
	c := t.conn
	c.task = nil
	l.freeTask(t)
	if c.tls != nil {
		l.call(func() { c.tls.report(c.opError("handshake", why)) })
	}
	sysAbort(c.fd)
	c.closeNow()
}

// sysAbort has fd's peer told by a reset when it is closed.
func sysAbort(fd int) { setLinger(fd, 0) }
