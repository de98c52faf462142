package loop

import "time"

// What the loop's jobs wait in, in the order of service: what is in progress goes
// before what is new, and whoever has been served before goes before strangers.
//
//   - ready: paused jobs that can go on
//   - helpers: jobs that jobs have started
//   - starts: connections that were parked and have something to read
//   - calls: functions of Loop.Go
//   - shaking: paused handshakes that can go on, and that much was done for
//   - early: paused handshakes that nothing was done for yet
//   - fresh: new connections
//
// All jobs of the first three are run in a turn. The others are often long (a
// handshake's signature takes a millisecond), and what is in progress must not
// wait for many of them: a turn ends after some time, and the next one begins
// with what has become ready meanwhile.
//
// Clients may send their hellos but for the last byte, so that their handshakes wait
// in jobs, and then all last bytes at once. That gives them no right to go before
// others: early and fresh take turns, and whoever has waited too long in either is
// turned away.
type queues struct {
	ready   taskList
	helpers taskList
	starts  taskList
	calls   taskList
	shaking taskList
	early   taskList
	fresh   taskList

	nhelpers int // helpers alive or to be started
	parked   int // connections
	resting  int // those of them that have been served before

	share     time.Duration // of the last turn for new work
	earlyNext bool          // whose turn it is
}

// paused are the lists of paused jobs that can go on.
func (q *queues) paused() [3]*taskList { return [...]*taskList{&q.ready, &q.shaking, &q.early} }

// unstarted are the lists of jobs to be started.
func (q *queues) unstarted() [4]*taskList {
	return [...]*taskList{&q.helpers, &q.starts, &q.calls, &q.fresh}
}

// nunstarted counts the jobs to be started.
func (q *queues) nunstarted() int { return q.helpers.n + q.starts.n + q.calls.n + q.fresh.n }

const (
	// leastShare is how long a turn goes on with new work at least. It does one
	// piece in any case.
	leastShare = 200 * time.Microsecond
	// partForNew is the part of a turn that is for new work when what is in
	// progress takes long: or clients who are served before would starve it.
	partForNew = 8
)

// runReady resumes the jobs that are ready, and then starts new ones. What
// they make ready is for the next turn: the poller comes first.
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
	turn.pieces = 0 // one at least, whatever functions have taken
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

// nextNew returns the queue of early and fresh whose turn it is, nil if neither has
// something that there is room for.
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

// newWork is what a turn does of new work.
type newWork struct {
	l      *Loop
	end    int64
	pieces int
}

// over is asked before each piece, and reports whether it has to wait.
func (w *newWork) over() bool {
	now := w.l.clock()
	if w.end == 0 {
		w.end = now + int64(w.l.share)
	}
	w.pieces++
	return w.pieces > 1 && now > w.end
}

// accepts is how many connections a listener may accept in a turn, and how many
// may wait for the loop when it accepts one more: Config.AcceptsPerTurn, or so many
// times as many as turns are longer.
func (l *Loop) accepts() int {
	return l.cfg.AcceptsPerTurn * int(min(max(l.share/leastShare, 1), 64))
}

// alive is how many jobs there are that Config.MaxJobs bounds.
func (l *Loop) alive() int { return len(l.tasks) - l.nhelpers - l.starts.n - l.calls.n - l.fresh.n }

// room reports whether Config.MaxJobs allows to start another job.
func (l *Loop) room() bool { return l.alive() < l.cfg.MaxJobs }

// roomForNew reports whether it allows to start one for a new connection.
func (l *Loop) roomForNew() bool { return l.alive()+l.reserve() < l.cfg.MaxJobs }

// reserve is how many jobs are kept for the connections that rest, and have been
// served before: strangers cannot use up all jobs and keep them out.
func (l *Loop) reserve() int { return min(l.resting, l.cfg.MaxJobs/reservedShare) }

// reservedShare says what part of Config.MaxJobs is reserved at most.
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
	case t.waitsFor == c && c.sent < muchSent: // for a hello
		t.since = l.clock()
		l.early.push(t)
	default:
		l.shaking.push(t)
	}
	t.queued = true
}

// muchSent is how many bytes a server has sent when much was done for a handshake.
// A HelloRetryRequest, which costs nothing, has half of that (RFC 8446, section
// 4.1.4); with a certificate it is many times as much.
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
