package loop

import "time"

// queues are the queues in which the loop's jobs wait, in the order of service.
// Work in progress goes before new work, and connections that have been served
// before go before new ones.
//
//   - ready: paused jobs that can continue
//   - helpers: jobs started by jobs
//   - starts: parked connections that have something to read
//   - calls: functions given to Loop.Go
//   - shaking: paused handshakes that can continue, with much work already done
//   - early: paused handshakes that can continue, with hardly any work done
//   - fresh: new connections
//
// A turn runs all jobs of the first three, as far as MaxJobs allows. Jobs in the
// others often take long (a handshake's signature takes a millisecond), and work
// in progress must not wait for many of them. So after some time the turn ends,
// and the next one begins with what has become ready meanwhile.
//
// Clients could send all of their hello but the last byte, so that their
// handshakes wait in jobs, and then send all last bytes at once. This must not put
// them ahead of others. So early and fresh take turns, and connections that have
// waited too long in either are turned away.
type queues struct {
	ready   taskList
	helpers taskList
	starts  taskList
	calls   taskList
	shaking taskList
	early   taskList
	fresh   taskList

	nhelpers int // helpers alive or to be started
	parked   int // parked connections
	resting  int // parked connections that have been served before

	share     time.Duration // for new work, in the last turn
	earlyNext bool          // early's turn is next, not fresh's
}

// paused returns the queues of paused jobs that can continue.
func (q *queues) paused() [3]*taskList { return [...]*taskList{&q.ready, &q.shaking, &q.early} }

// unstarted returns the queues of jobs to be started.
func (q *queues) unstarted() [4]*taskList {
	return [...]*taskList{&q.helpers, &q.starts, &q.calls, &q.fresh}
}

// nunstarted returns the number of jobs to be started.
func (q *queues) nunstarted() int { return q.helpers.n + q.starts.n + q.calls.n + q.fresh.n }

const (
	// leastShare is the least time for new work in a turn. The first piece of new
	// work is done in any case.
	leastShare = 200 * time.Microsecond
	// partForNew gives new work at least 1/8 of the time that work in progress
	// takes in a turn. Otherwise old clients could starve it.
	partForNew = 8
)

// runReady resumes the jobs that are ready, and then starts new ones. Jobs that
// these make ready have to wait for the next turn: the poller comes first.
func (l *Loop) runReady() {
	l.share = leastShare
	if l.ready.n == 0 && l.shaking.n == 0 && l.early.n == 0 && l.nunstarted() == 0 {
		return
	}
	l.stats[statRunning].Store(1)
	defer l.stats[statRunning].Store(0)
	began := int64(0)
	if l.ready.n+l.helpers.n+l.starts.n > 1 {
		began = l.clock()
	}
	for range l.ready.n {
		l.resume(l.ready.pop())
	}
	for range l.helpers.n {
		l.start(l.helpers.pop())
	}
	for range l.starts.n {
		if !l.room() {
			break
		}
		l.start(l.starts.pop())
	}
	if began != 0 {
		l.share = max(leastShare, time.Duration(l.clock()-began)/partForNew)
	}
	turn := newWork{l: l}
	for range l.calls.n {
		if !l.room() || turn.over() {
			break
		}
		l.start(l.calls.pop())
	}
	turn.pieces = 0 // do at least one more, however long the functions took
	for range l.shaking.n {
		if turn.over() {
			return
		}
		l.resume(l.shaking.pop())
	}
	for range l.early.n + l.fresh.n {
		if turn.over() {
			return
		}
		next := l.nextNew()
		if next == nil {
			return
		}
		l.serveNew(next.pop())
	}
}

// nextNew returns the queue whose turn it is, early or fresh. It returns nil if
// neither has a job that there is room for.
func (l *Loop) nextNew() *taskList {
	fresh := l.fresh.n > 0 && l.roomForNew()
	switch {
	case l.early.n > 0 && (l.earlyNext || !fresh):
		l.earlyNext = false
		return &l.early
	case fresh:
		l.earlyNext = true
		return &l.fresh
	}
	return nil
}

// newWork limits the new work done in one turn.
type newWork struct {
	l      *Loop
	end    int64
	pieces int
}

// over is called before each piece of new work. It reports whether that has to
// wait for the next turn.
func (w *newWork) over() bool {
	now := w.l.clock()
	if w.end == 0 {
		w.end = now + int64(w.l.share)
	}
	w.pieces++
	return w.pieces > 1 && now > w.end
}

// accepts returns how many connections a listener may accept in a turn, and how
// many may wait for the loop when it accepts another: Config.AcceptsPerTurn times
// the length of the last turn's share for new work, in units of leastShare.
func (l *Loop) accepts() int {
	return l.cfg.AcceptsPerTurn * int(min(max(l.share/leastShare, 1), 64))
}

// alive returns how many jobs there are that count towards Config.MaxJobs.
func (l *Loop) alive() int { return len(l.tasks) - l.nhelpers - l.starts.n - l.calls.n - l.fresh.n }

// room reports whether Config.MaxJobs allows another job to start.
func (l *Loop) room() bool { return l.alive() < l.cfg.MaxJobs }

// roomForNew reports whether Config.MaxJobs allows a job to start for a new
// connection.
func (l *Loop) roomForNew() bool { return l.alive()+l.reserve() < l.cfg.MaxJobs }

// reserve returns how many jobs are reserved for parked connections that have
// been served before. New clients cannot use up all jobs and keep these out.
func (l *Loop) reserve() int { return min(l.resting, l.cfg.MaxJobs/reservedShare) }

// reservedShare is the divisor of Config.MaxJobs that gives the largest reserve.
const reservedShare = 4

// hasWork reports whether a turn of the loop would run a job.
func (l *Loop) hasWork() bool {
	return l.ready.n > 0 || l.shaking.n > 0 || l.early.n > 0 || l.helpers.n > 0 ||
		l.starts.n+l.calls.n > 0 && l.room() || l.fresh.n > 0 && l.roomForNew()
}

// ready queues a paused job to be resumed.
func (t *task) ready() {
	l, c := t.loop, t.conn
	switch {
	case t.state != taskPaused || t.queued:
		return
	case c == nil || c.tls == nil || c.tls.handshake == handshakeDone || t.cancel:
		l.ready.push(t)
	case t.waitsFor == c && c.sent < muchSent: // it has waited for a hello
		t.since = l.clock()
		l.early.push(t)
	default:
		l.shaking.push(t)
	}
	t.queued = true
}

// muchSent is how many bytes the server must have sent for a handshake to count
// as one with much work done. A HelloRetryRequest, which costs no work, is half as
// long (RFC 8446, section 4.1.4). A flight with a certificate is many times as
// long.
const muchSent = 200

// isNew reports whether the connection has not been served yet.
func (c *Conn) isNew() bool {
	if c.tls != nil {
		return c.tls.handshake != handshakeDone
	}
	return !c.known
}

// serve queues a job for the connection.
func (c *Conn) serve(h Handler) {
	l := c.l
	q := &l.starts
	if c.isNew() {
		q = &l.fresh
	}
	t := l.newTask(q)
	t.conn, t.handler = c, h
	t.since = l.clock()
	c.task = t
}
