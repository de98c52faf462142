package loop

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jobloop/jobloop/jobs"
)

// inbox is the way into the loop from other goroutines.
type inbox struct {
	mu     sync.Mutex
	msgs   []message
	spare  []message
	wakes  map[jobs.Job]struct{} // jobs for which a Wake is in msgs
	closed bool

	n        atomic.Int32 // len(msgs), to be read without the lock
	queued   atomic.Int32 // calls of Go and Post that the loop has not processed
	sleeping atomic.Bool  // the loop may be in a blocking wait
}

// message is one of: a job to start, a function to call, a job or task to wake,
// a task to resume wherever it has paused, a connection to close, an accepted
// connection to serve, or a listener that is new or has been closed.
type message struct {
	start   func(context.Context) error
	call    func()
	job     jobs.Job
	task    *task
	resume  *task
	conn    *Conn
	deal    *deal
	listen  *Listener
	bounded bool // counted in inbox.queued
}

// send gives the loop a message. It does not block, and makes a system call only
// if the loop may be asleep.
func (l *Loop) send(m message) error {
	in := &l.in
	in.mu.Lock()
	defer in.mu.Unlock()
	return l.sendLocked(m)
}

func (l *Loop) sendLocked(m message) error {
	in := &l.in
	if in.closed {
		return ErrClosed
	}
	in.msgs = append(in.msgs, m)
	in.n.Store(int32(len(in.msgs)))
	return l.wakeIfAsleep()
}

// sendBounded is send for the calls that MaxQueued limits.
func (l *Loop) sendBounded(m message) error {
	if int(l.in.queued.Add(1)) > l.cfg.MaxQueued {
		l.in.release()
		return fmt.Errorf("%w: %d calls are waiting", ErrQueueFull, l.cfg.MaxQueued)
	}
	m.bounded = true
	err := l.send(m)
	if err != nil {
		l.in.release()
	}
	return err
}

func (in *inbox) release() { in.queued.Add(-1) }

// wakeIfAsleep must be called with the inbox locked and not closed: once it is
// closed, the poller may be closed too.
func (l *Loop) wakeIfAsleep() error {
	if l.in.sleeping.CompareAndSwap(true, false) {
		return l.poller.wake()
	}
	return nil
}

// takeMessages processes the messages in the inbox.
func (l *Loop) takeMessages() {
	in := &l.in
	if in.n.Load() == 0 {
		return
	}
	in.mu.Lock()
	msgs := in.msgs
	in.msgs, in.spare = in.spare[:0], nil
	in.n.Store(0)
	if len(in.wakes) > 4096 {
		in.wakes = nil
	}
	clear(in.wakes)
	in.mu.Unlock()
	for i := range msgs {
		l.take(&msgs[i])
	}
	clear(msgs)
	if cap(msgs) <= 4096 { // the memory of a burst is not kept
		in.mu.Lock()
		in.spare = msgs[:0]
		in.mu.Unlock()
	}
}

func (l *Loop) take(m *message) {
	if m.bounded && m.start == nil { // a job is counted until it starts
		l.in.release()
	}
	switch {
	case m.task != nil:
		m.task.waking.Store(false)
		m.task.wake()
	case m.resume != nil:
		m.resume.ready()
	case m.start != nil:
		t := l.newTask(&l.calls)
		t.fn = m.start
		t.counted = true
	case m.call != nil:
		l.call(m.call)
	case m.conn != nil:
		m.conn.shut()
	case m.deal != nil:
		l.takeDeal(m.deal)
	case m.listen != nil:
		m.listen.update()
	default:
		l.Ready(m.job)
	}
}

// wake resumes t's job. If the job is not waiting for a wake, its next pause ends
// at once. A call that comes too late, after the job has ended, may wake the next
// job on the same task. That is only a spurious resume.
func (t *task) wake() {
	if t.wait.CallbackTaken() { // reset, so that the job has to take it again
		t.wait.SetCallback(t.loop.wakeCallback, t)
	}
	if t.state == taskPaused && !t.inLoop {
		t.interval = 0
		t.ready()
	} else {
		t.woken = true
	}
}

// wakeTask is the callback in every job's WaitCtx. It may be called from any
// goroutine.
func (l *Loop) wakeTask(arg any) error {
	t := arg.(*task)
	if t.waking.Swap(true) {
		return nil
	}
	err := l.send(message{task: t})
	if err != nil {
		t.waking.Store(false)
	}
	return err
}

// maxHelpers is how many helpers (jobs started by other jobs) there may be, as a
// multiple of Config.MaxJobs.
const maxHelpers = 4

// Go starts fn as a job on the loop. It may be called from any goroutine.
//
// The context carries the job and the loop to functions such as Sleep and Dial.
// It has the values of Run's context, but it is never done: a job that waited on
// its Done channel would block the thread. A cancelled job gets jobs.ErrCanceled
// from whatever it pauses in.
//
// An error that fn returns is logged at debug level. Go returns ErrQueueFull when
// Config.MaxQueued calls are waiting, ErrShutdown once Shutdown has been called,
// and ErrClosed when the loop has ended. When the loop ends, jobs that have not
// started are dropped.
//
// Called inside a job of the same loop, Go starts a helper. A helper does not
// count towards Config.MaxJobs, so a job may wait for it even if the loop is full.
// There may be four times MaxJobs helpers. Beyond that Go returns ErrTooManyJobs
// at once, so that jobs cannot deadlock waiting for helpers.
func (l *Loop) Go(fn func(ctx context.Context) error) error {
	if fn == nil {
		return jobs.ErrNoFunc
	}
	if j, ok := jobs.Current(); ok {
		if t, ok := j.Value().(*task); ok && t.loop == l {
			return l.goHelper(fn)
		}
	}
	if l.ShuttingDown() {
		return l.refused()
	}
	return l.sendBounded(message{start: fn})
}

// refused returns the reason why a loop that shuts down takes no more jobs.
func (l *Loop) refused() error {
	if l.stopping.Load() == stopNow {
		return ErrClosed
	}
	return ErrShutdown
}

func (l *Loop) goHelper(fn func(ctx context.Context) error) error {
	if l.stopping.Load() == stopNow {
		return ErrClosed
	}
	if l.nhelpers/maxHelpers >= l.cfg.MaxJobs {
		return fmt.Errorf("%w: %d were started by other jobs", ErrTooManyJobs, l.nhelpers)
	}
	l.nhelpers++
	t := l.newTask(&l.helpers)
	t.fn, t.helper = fn, true
	l.load.Add(-1)
	return nil
}

// Post makes the loop call fn on its goroutine, outside any job. It may be called
// from any goroutine. Functions are called in the order in which they were
// posted. fn must not block. Post returns ErrQueueFull when Config.MaxQueued calls
// are waiting, and ErrClosed when the loop has ended.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return jobs.ErrNoFunc
	}
	return l.sendBounded(message{call: fn})
}

// Wake resumes a paused job of this loop. It may be called from any goroutine.
//
// No wake is lost: if the job is running, or waits for something of this package
// (a Conn, Sleep, Await), its next Pause ends at once. Several wakes that the loop
// has not processed yet count as one. Waking a job that has ended does nothing.
// Config.MaxQueued does not limit Wake: its only error is ErrClosed.
func (l *Loop) Wake(j jobs.Job) error {
	in := &l.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.wakes[j]; ok {
		return nil
	}
	if err := l.sendLocked(message{job: j}); err != nil {
		return err
	}
	if in.wakes == nil {
		in.wakes = make(map[jobs.Job]struct{})
	}
	in.wakes[j] = struct{}{}
	return nil
}
