package loop

import (
	"net"
	"os"
	"time"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// How the methods of a connection wait, and who may call them.

func (s *side) wake() {
	for w := s.waiters; w != nil; w = w.next {
		w.task.ready()
	}
}

func (s *side) add(w *waiter) { w.next, s.waiters = s.waiters, w }

func (s *side) remove(w *waiter) {
	for p := &s.waiters; *p != nil; p = &(*p).next {
		if *p == w {
			*p = w.next
			w.next = nil
			break
		}
	}
	if s.waiters == nil {
		s.limit = 0
	}
}

// usable returns nil if an operation on side s may go on, or the error that must
// end it.
func (c *Conn) usable(s *side) error {
	switch {
	case c.state.Load() >= connClosing:
		return net.ErrClosed
	case s.deadline != 0 && s.deadline <= c.l.now:
		return os.ErrDeadlineExceeded
	}
	if t := c.l.current; t != nil {
		return t.usable()
	}
	return nil
}

// usable returns jobs.ErrCanceled if t's job has been cancelled and goes on all the same.
// In the end it stops the job.
func (t *task) usable() error {
	if t.cancel && t.ops >= fairShare {
		t.job.Pause()
		return jobs.ErrCanceled
	}
	return nil
}

// await waits until side s may be ready, or usable has an error. It also returns
// nil in the second case, but an error if the job is cancelled or the wait has
// taken longer than bound.
func (c *Conn) await(s *side, ev waitctx.Events, bound time.Duration) error {
	l := c.l
	t := l.current
	if t == nil || !t.job.Inside() {
		return l.outside()
	}
	end := int64(0) // of this wait; another job may wait on s with another end
	if bound > 0 {
		end = l.after(bound)
	}
	c.within(s, end)
	s.add(&t.waiter)
	t.waitsFor = c
	defer t.waited(s)
	for {
		paused, err := t.pause()
		if err != nil {
			return err
		}
		if !paused {
			return c.block(s, ev)
		}
		if s.ready || c.usable(s) != nil {
			return nil
		}
		if s.deadline == 0 && end != 0 && end <= l.now {
			return os.ErrDeadlineExceeded
		}
		c.within(s, end)
	}
}

// within makes sure that the waits on side s are checked when its deadline
// passes, or at end if it has no deadline.
func (c *Conn) within(s *side, end int64) {
	if s.deadline != 0 {
		end = s.deadline
	}
	if end != 0 && (s.limit <= c.l.now || end < s.limit) { // a limit of 0 is in the past too
		s.limit = end
		c.schedule(end)
	}
}

func (t *task) waited(s *side) {
	t.waitsFor = nil
	s.remove(&t.waiter)
}

// outside returns the error for a call that would have to wait and is not made
// inside the running job.
func (l *Loop) outside() error {
	if l.current == nil && l.here() {
		return ErrWouldBlock
	}
	return ErrNotInJob
}

// here reports whether the caller is inside the running job, or, if no job is
// running, on the loop's goroutine. On another goroutine it returns false, but the
// call is a data race there, as is the call being checked. See also onLoop.
func (l *Loop) here() bool {
	if t := l.current; t != nil {
		return t.job.Inside()
	}
	g := l.goroutine.Load()
	return g == 0 || g == goroutine.ID()
}

// block blocks the thread until side s is ready, for a job that may not pause.
func (c *Conn) block(s *side, ev waitctx.Events) error {
	for {
		timeout := time.Duration(-1)
		if s.limit != 0 {
			timeout = time.Duration(max(s.limit-c.l.clock(), 0))
		}
		ready, err := sysPoll(c.fd, ev, timeout)
		if ready || err != nil {
			s.ready = true
			if err == nil && s == &c.wr {
				c.sendKept() // the loop has no chance to do so
			}
			return err
		}
		if timeout == 0 {
			return os.ErrDeadlineExceeded
		}
	}
}

// fairShare is how many system calls that move bytes a job may make in a row
// before other ready jobs get their turn. 64 reads by crypto/tls are about a
// megabyte. A cancelled job may make as many to say goodbye.
const fairShare = 64

// moved counts an operation of the job that did not have to wait.
func (c *Conn) moved() {
	if t := c.l.current; t != nil {
		t.moved()
	}
}

func (t *task) moved() {
	if t.ops++; t.ops < fairShare || t.cancel {
		return
	}
	if !t.job.Inside() { // the caller is on another goroutine
		return
	}
	t.ops = 0
	t.yielding = true
	t.pause()
	t.yielding = false
}
