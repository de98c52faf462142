package loop

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// watch is one descriptor that jobs wait for through their WaitCtx. It is armed
// for one event; the next job that pauses on it arms it again.
type watch struct {
	fd     int
	gen    generation
	tasks  []*task
	armed  waitctx.Events // what the poller will report
	known  bool           // the poller knows it
	always bool           // always ready, as regular files are
	blind  bool           // neither the poller nor poll can tell: its jobs are polled
}

// learn updates the watches of a job that has just paused, and arms them if the
// job waits for its WaitCtx.
func (l *Loop) learn(t *task) {
	if len(t.watching) == 0 {
		l.added = t.wait.AllFDs(l.added[:0])
		l.deleted = l.deleted[:0]
	} else {
		l.added, l.deleted = t.wait.ChangedFDs(l.added[:0], l.deleted[:0])
	}
	// Deleted descriptors first, since their numbers may have been added again.
	for _, fd := range l.deleted {
		l.unwatch(t, fd)
	}
	for _, fd := range l.added {
		l.watch(t, fd)
	}
	switch {
	case t.yielding:
		t.ready()
		return
	case t.conn != nil && t.conn.gone() && t.waitsElsewhere():
		t.cancelPaused()
		return
	case t.inLoop:
		t.interval = 0 // it has made progress
		return
	case t.woken: // a wake came before it paused
		t.woken = false
		t.ready()
		return
	}
	for _, w := range t.watching {
		if err := l.armWatch(w); err != nil {
			l.log(slog.LevelError, "cannot watch a job's descriptor; job canceled", slog.Int("fd", w.fd), slog.Any("error", err))
			t.cancelPaused()
			return
		}
	}
	switch {
	case l.mustPoll(t):
		l.lookLater(t, l.cfg.PollInterval, maxPolls*l.cfg.PollInterval)
	case len(t.watching) > 0:
		l.lookLater(t, checkInterval, maxCheckInterval)
	}
}

// mustPoll reports whether the loop has to poll the paused job, because nothing
// will signal when it can continue.
func (l *Loop) mustPoll(t *task) bool {
	switch t.wait.Status() {
	case waitctx.StatusEAgain:
		return true
	case waitctx.StatusOK:
		return false
	}
	return len(t.watching) == 0 && !t.wait.CallbackTaken() ||
		slices.ContainsFunc(t.watching, func(w *watch) bool { return w.blind })
}

// maxPolls limits the time between two polls of a job, as a multiple of
// Config.PollInterval.
const maxPolls = 256

// The loop checks from time to time whether the descriptors a job waits for are
// still the same: first after checkInterval, then less and less often. The poller
// does not report that a descriptor was closed, and its number may belong to
// something else by now.
const (
	checkInterval    = time.Second
	maxCheckInterval = 64 * time.Second
)

// lookLater sets a timer to check on the paused job. The interval is least at
// first, and doubles each time up to most. Timers expire at multiples of the
// interval, so that jobs are checked together.
func (l *Loop) lookLater(t *task, least, most time.Duration) {
	t.interval = min(max(2*t.interval, least), most)
	step := int64(t.interval)
	l.setTimer(&t.timer, (l.clock()/step+1)*step)
}

// expire ends a Sleep, polls the job, or checks what it waits for.
func (t *task) expire(int64) {
	if t.state != taskPaused || t.inLoop || t.loop.mustPoll(t) || !t.watched() {
		t.ready()
		return
	}
	t.loop.lookLater(t, checkInterval, maxCheckInterval)
}

// watched reports whether the poller watches everything the paused job waits for.
func (t *task) watched() bool {
	for _, w := range t.watching {
		if !t.loop.holds(w) || w.armed != 0 && !t.loop.poller.armed(w.fd, w.gen, w.armed) {
			return false
		}
	}
	return true
}

// watch adds fd to the descriptors that t's job waits for.
func (l *Loop) watch(t *task, fd int) {
	var w *watch
	if fd >= len(l.slots) && !sysIsOpen(fd) {
		// A job may pass any number. Only open descriptors, whose numbers the
		// system keeps small, get a slot. armWatch will refuse this one.
		w = &watch{fd: fd}
	} else if s := l.slot(fd); s.watch != nil {
		// Other jobs already wait for this number. One of them may have closed it
		// without clearing it, and it may be another file by now: arm it again.
		w = s.watch
		w.armed = 0
	} else {
		w = &watch{fd: fd, gen: s.gen}
		s.watch = w
	}
	if !slices.Contains(w.tasks, t) {
		w.tasks = append(w.tasks, t)
		t.watching = append(t.watching, w)
	}
}

// unwatch is called when the job has cleared fd.
func (l *Loop) unwatch(t *task, fd int) {
	i := slices.IndexFunc(t.watching, func(w *watch) bool { return w.fd == fd })
	if i < 0 {
		return
	}
	w := t.watching[i]
	if slices.Contains(l.added, fd) {
		// It was set again, and may be another file with the same number.
		w.armed = 0
	} else if t.wait.Events(fd) != 0 {
		return // still set under another key
	}
	t.watching = slices.Delete(t.watching, i, i+1)
	l.dropWatch(t, w)
}

func (l *Loop) dropWatch(t *task, w *watch) {
	if i := slices.Index(w.tasks, t); i >= 0 {
		w.tasks = slices.Delete(w.tasks, i, i+1)
	}
	if len(w.tasks) > 0 || !l.holds(w) {
		return
	}
	s := &l.slots[w.fd]
	s.watch = nil
	if s.conn == nil && s.ln == nil {
		s.gen = s.gen.next()
		if w.known {
			if err := l.poller.remove(w.fd); err != nil {
				l.log(slog.LevelError, "cannot stop watching a descriptor", slog.Int("fd", w.fd), slog.Any("error", err))
			}
		}
	}
}

// errNoDescriptor is the error for arming a watch whose descriptor was not open,
// or has been closed since.
var errNoDescriptor = errors.New("not an open descriptor")

// holds reports whether w still owns the slot of its descriptor.
func (l *Loop) holds(w *watch) bool { return w.fd < len(l.slots) && l.slots[w.fd].watch == w }

// forget removes all watches of t's job, and its timer.
func (l *Loop) forget(t *task) {
	for i, w := range t.watching {
		l.dropWatch(t, w)
		t.watching[i] = nil
	}
	t.watching = t.watching[:0]
	l.stopTimer(&t.timer)
	t.interval = 0
}

// armWatch makes the poller report what the jobs wait for, once.
func (l *Loop) armWatch(w *watch) error {
	if !l.holds(w) {
		return errNoDescriptor
	}
	var ev waitctx.Events
	for _, t := range w.tasks {
		if t.state == taskPaused && !t.inLoop { // not in a Sleep, for example
			ev |= t.wait.Events(w.fd)
		}
	}
	s := &l.slots[w.fd]
	if s.conn != nil || s.ln != nil {
		// The loop itself has registered the socket, edge-triggered. That reports
		// what happens from now on; poll reports what has happened before.
		ready, err := sysPoll(w.fd, ev, 0)
		if ready {
			w.fire()
		}
		return err
	}
	if w.always {
		w.fire()
		return nil
	}
	if w.armed == ev {
		return nil
	}
	err := l.poller.arm(w.fd, w.gen, ev, !w.known)
	if err == nil {
		w.known, w.armed, w.blind = true, ev, false
		return nil
	}
	if !sysIsOpen(w.fd) {
		return err
	}
	if isErrno(err, errnoEPERM) {
		w.always = true
		w.fire()
		return nil
	}
	// A kqueue refuses a pipe whose reader is gone (EPIPE, on NetBSD EBADF), files
	// of some file systems (EOPNOTSUPP, golang.org/issue/22923), and on macOS some
	// devices, /dev/tty among them (EINVAL, tokio-rs/mio#1377). What poll says
	// holds. If that is "not yet", or that it does not know such devices either,
	// there is nothing that would tell.
	ready, _ := sysPoll(w.fd, ev, 0)
	w.armed, w.blind = 0, !ready
	if ready {
		w.fire()
	}
	return nil
}

// fire wakes the jobs that wait for w.
func (w *watch) fire() {
	w.armed = 0
	for _, t := range w.tasks {
		if !t.inLoop {
			t.interval = 0
			t.ready()
		}
	}
}
