package gnetjobs

import (
	"net"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// task is a host's record of one job: a connection's handshake, or a function
// given to Job. It is reused.
type task struct {
	host *host
	conn *conn
	fn   func(net.Conn) error // nil: the handshake
	job  jobs.Job             // the zero Job before it starts
	wait waitctx.WaitCtx
	body func(jobs.Job) error // main as a value, made once

	list       *taskList // the list it is in, if any
	prev, next *task
	cancel     bool  // to be cancelled when it next gets the thread
	want       want  // what it pauses for
	away       bool  // counted in host.away
	polled     bool  // in host.polled
	limit      int64 // when the wait has to end, on the host's clock; 0: never
	came       int64 // when the handshake was queued
}

// want is what a paused job waits for.
type want uint8

const (
	wantOther want = iota // something else, such as an engine
	wantRead
	wantWrite
)

// taskList is a queue of n tasks. A task is in at most one queue.
type taskList struct {
	head, tail *task
	n          int
}

func (q *taskList) push(t *task) {
	q.n++
	t.list, t.prev, t.next = q, q.tail, nil
	if q.tail == nil {
		q.head = t
	} else {
		q.tail.next = t
	}
	q.tail = t
}

func (q *taskList) remove(t *task) {
	q.n--
	if t.prev == nil {
		q.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		q.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.list, t.prev, t.next = nil, nil, nil
}

func (q *taskList) pop() *task {
	t := q.head
	if t != nil {
		q.remove(t)
	}
	return t
}

// maxFreeTasks is how many tasks a host keeps for reuse.
const maxFreeTasks = 64

// newTask gives c a job.
func (h *host) newTask(c *conn, fn func(net.Conn) error) *task {
	t := h.free.pop()
	if t == nil {
		t = &task{host: h}
		t.body = t.main
	}
	t.conn, t.fn = c, fn
	t.wait.SetCallback(h.wakeCallback, t)
	c.task = t
	return t
}

func (h *host) freeTask(t *task) {
	h.guard(func() { t.wait.Close() }) // clean up what the job left registered
	t.wait = waitctx.WaitCtx{}
	t.conn, t.fn, t.job = nil, nil, jobs.Job{}
	t.cancel, t.limit, t.came, t.want = false, 0, 0, wantOther
	if h.free.n < maxFreeTasks {
		h.free.push(t)
	}
}

// makeReady queues t to be run.
func (h *host) makeReady(t *task) {
	if t.list == nil && t != h.current && t.conn != nil {
		h.ready.push(t)
	}
}

// begun reports whether the job has been started.
func (t *task) begun() bool { return t.job != jobs.Job{} }

// main is the body of every job.
func (t *task) main(j jobs.Job) error {
	t.job = j
	j.SetValue(t)
	c := t.conn
	if t.fn == nil {
		return c.tls.Handshake(jobs.NewContext(t.host.ctx, j))
	}
	nc := &jobConn{conn: c, job: j}
	defer nc.done.Store(true)
	if c.host.handler.cfg != nil {
		return t.fn(&tlsJobConn{nc})
	}
	return t.fn(nc)
}

// await pauses the job, which is the caller's. It returns when what the job wants
// may be there, when limit has passed, or for any other reason.
func (t *task) await(w want, limit int64) error {
	switch {
	case !t.job.Inside():
		return ErrNotInJob // Pause would return at once
	case t.job.PauseBlocked():
		return errPauseBlocked
	}
	t.want, t.limit = w, limit
	t.conn.schedule(limit)
	err := t.job.Pause()
	t.want, t.limit = wantOther, 0
	return err
}

// run starts or continues t's job until it pauses or ends. It must not be called
// inside a job.
func (h *host) run(t *task) {
	if t.away {
		t.away = false
		h.away--
	}
	h.events++
	h.current = t
	var st jobs.Status
	var err error
	switch {
	case !t.begun():
		_, st, err = h.pool.Start(&t.wait, t.body)
		if st != jobs.StatusNoJobs {
			h.count(t, 1)
		}
	case t.cancel:
		st, err = t.job.Cancel()
	default:
		st, err = t.job.Resume()
	}
	h.current = nil
	switch st {
	case jobs.StatusPaused:
		h.paused(t)
	case jobs.StatusNoJobs:
		h.starts.push(t)
	default:
		h.ended(t, err)
	}
}

// count counts t's job as begun (n is 1) or ended (n is -1).
func (h *host) count(t *task, n int) {
	h.running += n
	if t.fn == nil {
		h.handshaking += n
	}
}

// paused is called when t's job has paused.
func (h *host) paused(t *task) {
	if t.conn.phase == phaseClosed { // gnet closed the connection while the job ran
		t.cancel = true
		h.makeReady(t)
		return
	}
	if t.want != wantOther {
		return
	}
	t.away = true
	h.away++
	if h.mustPoll(t) && !t.polled {
		t.polled = true
		h.polled = append(h.polled, t)
		h.schedulePoll()
	}
}

// mustPoll reports whether the host has to poll the paused job, because nothing
// will signal when it can continue. gnet's poller does not know the descriptors in
// its wait context.
func (h *host) mustPoll(t *task) bool {
	switch t.wait.Status() {
	case waitctx.StatusEAgain:
		return true
	case waitctx.StatusOK:
		return false
	}
	return !t.wait.CallbackTaken()
}

// ended is called when t's job has ended, with the error that Start, Resume or
// Cancel returned.
func (h *host) ended(t *task, err error) {
	c, handshake := t.conn, t.fn == nil
	c.task = nil
	h.count(t, -1)
	h.freeTask(t)
	h.pool.Trim(keepIdle)
	if s := h.starts.pop(); s != nil {
		h.ready.push(s)
	}
	switch {
	case c.phase == phaseClosed:
		c.finish()
	case c.phase == phaseEnding: // it is already being ended
	case handshake:
		c.handshaken(err)
	default:
		c.jobEnded(err)
	}
}

// dismiss ends c's job, if it has one. It must not be called inside a job.
func (h *host) dismiss(c *conn) {
	t := c.task
	if t == nil {
		return
	}
	if l := t.list; l != nil {
		l.remove(t)
		if l == &h.waiting {
			h.gone(h.now() - t.came)
		}
	}
	if !t.begun() {
		c.task = nil
		h.freeTask(t)
		return
	}
	t.cancel = true
	h.run(t)
}
