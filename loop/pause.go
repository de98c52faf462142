package loop

import (
	"net"
	"os"
	"time"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// How a connection's methods wait, and who may.

func (s *side) wake() {
	for t := s.waiters; t != nil; t = t.waitNext {
		t.ready()
	}
}

func (s *side) remove(t *task) {
	for p := &s.waiters; *p != nil; p = &(*p).waitNext {
		if *p == t {
			*p = t.waitNext
			t.waitNext = nil
			break
		}
	}
	if s.waiters == nil {
		s.limit = 0
	}
}

// usable returns the error that an operation must end with, nil if it may
// begin.
func (c *Conn) usable(s *side) error {
	switch {
	case c.state.Load() >= connClosing:
		return net.ErrClosed
	case s.deadline != 0 && s.deadline <= c.l.now:
		return os.ErrDeadlineExceeded
	}
	if t := c.l.current; t != nil && t.cancel && t.ops >= fairShare {
		t.job.Pause() // which ends a job that does not listen, in the end
		return jobs.ErrCanceled
	}
	return nil
}

// await waits until side s may be ready, or usable says why it never will.
func (c *Conn) await(s *side, ev waitctx.Events, bound time.Duration) error {
	l := c.l
	t := l.current
	if t == nil || !t.job.Inside() {
		return l.outside()
	}
	end := int64(0) // of this wait; another job may wait here too, until another time
	if bound > 0 {
		end = l.after(bound)
	}
	c.within(s, end)
	t.waitNext = s.waiters
	s.waiters = t
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

// within has the waits on side s looked at when its deadline passes, or if it has
// none at end, unless that is done earlier.
func (c *Conn) within(s *side, end int64) {
	if s.deadline != 0 {
		end = s.deadline
	}
	if end != 0 && (s.limit <= c.l.now || end < s.limit) { // 0 is the past
		s.limit = end
		c.schedule(end)
	}
}

func (t *task) waited(s *side) {
	t.waitsFor = nil
	s.remove(t)
}

// outside is why a call that is not made inside the running job cannot wait.
func (l *Loop) outside() error {
	if l.current == nil && l.here() {
		return ErrWouldBlock
	}
	return ErrNotInJob
}

// here reports whether the caller is inside the running job, or if there is none
// on the loop's goroutine. On another goroutine the answer is no, but asking is a
// data race, as the call that asks is: see onLoop.
func (l *Loop) here() bool {
	if t := l.current; t != nil {
		return t.job.Inside()
	}
	g := l.goroutine.Load()
	return g == 0 || g == goroutine.ID()
}

// block waits for code that may not pause.
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
				c.sendKept() // the loop cannot
			}
			return err
		}
		if timeout == 0 {
			return os.ErrDeadlineExceeded
		}
	}
}

// fairShare is how many system calls a job may make in a row that moved bytes,
// before others that are ready have their turn. 64 reads by crypto/tls are
// about a megabyte. A job that is cancelled may make as many to say goodbye.
const fairShare = 64

// moved counts an operation of the job that did not have to wait.
func (c *Conn) moved() {
	t := c.l.current
	if t == nil {
		return
	}
	if t.ops++; t.ops < fairShare || t.cancel {
		return
	}
	if !t.job.Inside() { // another goroutine: the job that runs is not the caller's
		return
	}
	t.ops = 0
	t.yielding = true
	t.pause()
	t.yielding = false
}
