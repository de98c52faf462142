package loop

import (
	"log/slog"
	"time"

	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// A connection waits twice: in the kernel, to be accepted, and with the loop, to
// be served. Both queues are first come, first served, and each has a record that
// says when somebody who has waited too long is turned away (see package
// admission). The kernel's is made shorter meanwhile.

// maxTurnedAway is the most connections that a listener turns away in a turn.
const maxTurnedAway = 32

// admit decides about a connection that has just been accepted, and says how
// long it has waited. The queue in the kernel is first come, first served.
func (n *Listener) admit(fd int) (age time.Duration, ok bool) {
	w, known := tcpinfo.Of(fd)
	if !n.tcp || !known {
		return 0, true
	}
	c := &n.l.counts
	_, tls := n.handler.(*TLSHandler)
	if w.Closed || w.Ended && tls {
		n.queue.Gone(int64(w.Age))
		c.Gone++
		return 0, false
	}
	if !n.queue.Leave(int64(w.Age)) {
		c.Shed++
		return 0, false
	}
	if w.Ended { // without TLS the client may have asked, and wait for the answer
		n.queue.Doubt()
	}
	return w.Age, true
}

// review looks at the queue in the kernel from time to time.
func (n *Listener) review() {
	l := n.l
	q := n.queue
	if !n.tcp || !n.registered || n.last > 0 || !q.Due(l.now) {
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
	if limit := q.Limit(); limit != was {
		n.setBacklog(limit)
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

// setBacklog makes the queue in the kernel shorter; 0 is for what it was. The
// socket may be shared with other processes: what was is restored in the end.
func (n *Listener) setBacklog(limit int) {
	if n.backlog == 0 { // it is not known what it was
		return
	}
	n.shortened = limit > 0
	if limit == 0 || limit > n.backlog {
		limit = n.backlog
	}
	if err := sysBacklog(n.fd, limit); err != nil {
		n.l.warn("cannot change the backlog", slog.String("address", n.addr.String()), slog.Any("error", err))
	}
}

// reviewTimer is the timer of a Listener's queue.
type reviewTimer Listener

func (t *reviewTimer) expire(int64) {
	n := (*Listener)(t)
	if n.last > 0 && !n.l.draining {
		n.closeNow() // there was no room for those who wait
		return
	}
	n.review()
}

// goneAfter is how long a connection has to have waited with the loop for it to
// be asked whether its client is still there.
const goneAfter = int64(5 * time.Millisecond)

// serveNew starts the job of a new connection, or goes on with its handshake, if
// it is not too late.
func (l *Loop) serveNew(t *task) {
	c, q := t.conn, l.queue
	now := l.clock()
	left := l.fresh.n + l.early.n
	if q.Due(now) {
		q.Next(now, left+1)
	}
	if left == 0 {
		q.Empty()
	}
	early := t.state == taskPaused
	if c == nil || c.fd < 0 || t.cancel || c.admitted && !early { // its time was up; it is closed; or it goes over to TLS
		l.run(t)
		return
	}
	wait := now - t.since
	gone := c.gone()
	if wait > goneAfter && !gone && c.tcp {
		w, _ := tcpinfo.Of(c.fd)
		gone = w.Closed || w.Ended && c.tls != nil
	}
	// What it has waited in the kernel was judged there: of that queue this one
	// does not know whether it gets shorter.
	switch {
	case gone:
		q.Gone(wait)
		l.turnAway(t, &l.counts.Gone)
		return
	case !q.Leave(wait):
		l.turnAway(t, &l.counts.Shed)
		return
	}
	if !early {
		c.admitted = true
		l.counts.countWait(time.Duration(wait + c.waited))
	}
	l.run(t)
}

// run starts a job, or resumes it.
func (l *Loop) run(t *task) {
	if t.state == taskPaused {
		l.resume(t)
		return
	}
	l.start(t)
}

// turnAway ends a new connection. A handshake that has begun counts as served
// already.
func (l *Loop) turnAway(t *task, count *uint64) {
	c := t.conn
	sysAbort(c.fd)
	c.abort, c.turned = true, true
	c.shed = count == &l.counts.Shed
	if t.state == taskPaused {
		t.cancel = true
		l.resume(t)
		return
	}
	*count++
	c.task = nil
	l.freeTask(t)
	if c.tls != nil {
		l.call(func() { c.tls.report(c.opError("handshake", c.whyTurnedAway())) })
	}
	c.closeNow()
}

func (c *Conn) whyTurnedAway() error {
	if c.shed {
		return ErrOverloaded
	}
	return ErrClientGone
}

// sysAbort has fd's peer told by a reset when it is closed.
func sysAbort(fd int) { setLinger(fd, 0) }
