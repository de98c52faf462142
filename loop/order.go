package loop

import "time"

// What the loop's jobs wait in, in the order of service: what is in progress goes
// before what is new, and whoever has been served before goes before strangers.
//
//   - ready: paused jobs that can go on
//   - helpers: jobs that jobs have started
//   - starts: connections that were parked and have something to read
//   - calls: functions of Loop.Go
//   - shaking: paused handshakes that can go on
//   - fresh: new connections, first come, first served
//
// All jobs of the first three are run in a turn. The others are often long (a
// handshake's signature takes a millisecond), and what is in progress must not
// wait for many of them: a turn ends after some time, and the next one begins
// with what has become ready meanwhile.
type queues struct {
	ready   taskList
	helpers taskList
	starts  taskList
	calls   taskList
	shaking taskList
	fresh   taskList

	nhelpers int // helpers alive or to be started
	parked   int // connections
	resting  int // those of them that have been served before
}

// lists are those that hold jobs to be started.
func (q *queues) lists() [4]*taskList {
	return [...]*taskList{&q.helpers, &q.starts, &q.calls, &q.fresh}
}

// unstarted counts the jobs to be started.
func (q *queues) unstarted() int { return q.helpers.n + q.starts.n + q.calls.n + q.fresh.n }

// newShare is how long a turn goes on with new work. It does one piece at least.
const newShare = 200 * time.Microsecond

// runReady resumes the jobs that are ready, and then starts new ones. What
// they make ready is for the next turn: the poller comes first.
func (l *Loop) runReady() {
	if l.ready.n == 0 && l.shaking.n == 0 && l.unstarted() == 0 {
		return
	}
	l.stats[statRunning].Store(1)
	defer l.stats[statRunning].Store(0)
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
	until := share{l: l}
	for range l.calls.n {
		if !l.room() || until.over() {
			break
		}
		l.start(l.calls.pop())
	}
	until.pieces = 0 // one at least, whatever functions have taken
	for range l.shaking.n {
		if until.over() {
			return
		}
		l.resume(l.shaking.pop())
	}
	for range l.fresh.n {
		if !l.roomForNew() || until.over() {
			return
		}
		l.startNew(l.fresh.pop())
	}
}

// share is the time that a turn has for new work.
type share struct {
	l      *Loop
	end    int64
	pieces int
}

// over is asked before each piece of work, and reports whether it has to wait.
func (s *share) over() bool {
	now := s.l.clock()
	if s.end == 0 {
		s.end = now + int64(newShare)
	}
	s.pieces++
	return s.pieces > 1 && now > s.end
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
	return l.ready.n > 0 || l.shaking.n > 0 || l.helpers.n > 0 ||
		l.starts.n+l.calls.n > 0 && l.room() || l.fresh.n > 0 && l.roomForNew()
}

// ready queues a paused job to be resumed.
func (t *task) ready() {
	switch {
	case t.state != taskPaused || t.queued:
		return
	case t.isHandshake():
		t.loop.shaking.push(t)
	default:
		t.loop.ready.push(t)
	}
	t.queued = true
}

// isHandshake reports whether the job does the handshake of its connection.
func (t *task) isHandshake() bool {
	c := t.conn
	return c != nil && c.tls != nil && c.tls.handshake != handshakeDone && !t.cancel
}

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
	t.since = l.now
	c.task = t
}
