package loop

import (
	"log/slog"
	"time"

	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// A connection waits twice: in the kernel until it is accepted, and in the loop
// until it is served. Both queues are first come, first served. Each has an
// admission.Queue, which decides when connections that have waited too long are
// turned away. While they are, the kernel's queue is made shorter.

// maxTurnedAway is the most connections a listener turns away in one turn.
const maxTurnedAway = 32

// admit decides whether to keep a connection that has just been accepted, and
// returns how long it waited in the kernel.
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
	if w.Ended { // without TLS, the client may have sent a request and await the answer
		n.queue.Doubt()
	}
	return w.Age, true
}

// review looks at the queue in the kernel from time to time.
func (n *Listener) review() {
	l := n.l
	q := n.queue
	if !n.tcp || !n.registered || n.last > 0 || n.gone.Load() || !q.Due(l.now) {
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
	if q.Over() { // overload must end even if no further client connects
		l.setTimer(&n.reviews, l.after(2*l.cfg.MaxWait))
	}
}

// kernelQueue records how many connections wait in the kernel.
func (n *Listener) kernelQueue(waiting int) {
	n.l.counts.Backlog += uint64(waiting) - uint64(n.waiting)
	n.waiting = waiting
}

// setBacklog makes the queue in the kernel shorter; a limit of 0 restores its
// original length. Other processes may share the socket, so closing the listener
// restores it too.
func (n *Listener) setBacklog(limit int) {
	if n.backlog == 0 { // the original length is unknown
		return
	}
	var err error
	n.withSocket(func() {
		n.shortened = limit > 0
		if limit == 0 || limit > n.backlog {
			limit = n.backlog
		}
		err = sysBacklog(n.fd, limit)
	})
	if err != nil {
		n.l.warn("cannot change the backlog", slog.String("address", n.addr.String()), slog.Any("error", err))
	}
}

// reviewTimer expires when a Listener's queue has to be reviewed, or when its
// last call is over.
type reviewTimer Listener

func (t *reviewTimer) expire(int64) {
	n := (*Listener)(t)
	if n.gone.Load() {
		if !n.l.draining { // Shutdown's context bounds a shutdown
			n.closeNow() // no room was found for the connections that are left
		}
		return
	}
	n.review()
}

// goneAfter is how long a connection must have waited in the loop before the
// loop checks whether its client is still there.
const goneAfter = int64(5 * time.Millisecond)

// serveNew starts the job of a new connection, or continues its handshake,
// unless it has waited too long.
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
	if c == nil || c.fd < 0 || t.cancel || c.admitted && !early { // timed out, closed, or already admitted and now switching to TLS
		l.run(t)
		return
	}
	wait := now - t.since
	gone := c.gone()
	if wait > goneAfter && !gone && c.tcp {
		w, _ := tcpinfo.Of(c.fd)
		gone = w.Closed || w.Ended && c.tls != nil
	}
	// Only the wait in the loop counts here. The wait in the kernel has been
	// judged by the listener's queue.
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

// turnAway resets a new connection. One whose handshake has begun was already
// counted as served, so count is left alone.
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

// sysAbort makes closing fd send a reset to the peer.
func sysAbort(fd int) { setLinger(fd, 0) }
