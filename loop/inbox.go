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
	wakes  map[jobs.Job]struct{} // jobs that Wake has been called for
	closed bool

	n        atomic.Int32 // len(msgs), for a look without the lock
	queued   atomic.Int32 // calls of Go and Post that the loop has not taken up
	sleeping atomic.Bool  // the loop may be in a blocking wait
}

// message is one of: a job to start, a function to call, a job or a task to
// wake, a task to resume wherever it has paused, a connection to close, an
// accepted descriptor to serve, a listener.
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

// send gives the loop a message. It does not block, and makes a system call
// only if the loop sleeps.
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

// sendBounded is send for calls whose number only MaxQueued limits.
func (l *Loop) sendBounded(m message) error {
	if int(l.in.queued.Add(1)) > l.cfg.MaxQueued {
		l.in.release()
		return fmt.Errorf("%w: %d calls wait", ErrQueueFull, l.cfg.MaxQueued)
	}
	m.bounded = true
	err := l.send(m)
	if err != nil {
		l.in.release()
	}
	return err
}

func (in *inbox) release() { in.queued.Add(-1) }

// wakeIfAsleep is called with the inbox locked: once it is closed, the poller
// may be too.
func (l *Loop) wakeIfAsleep() error {
	if l.in.sleeping.CompareAndSwap(true, false) {
		return l.poller.wake()
	}
	return nil
}

// takeMessages acts on what is in the inbox.
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
	if cap(msgs) <= 4096 { // a burst's memory is not kept
		in.mu.Lock()
		in.spare = msgs[:0]
		in.mu.Unlock()
	}
}

func (l *Loop) take(m *message) {
	if m.bounded && m.start == nil { // a job counts until it starts
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
		m.listen.register()
	default:
		l.Ready(m.job)
	}
}

// wake resumes t's job, or if that does not wait for a wake just now, makes its
// next pause end at once. A call that comes too late, for a job that has ended,
// may wake the next one on the same task: a spurious resume, no more.
func (t *task) wake() {
	if t.wait.CallbackTaken() { // once more, from here on, it has to be taken
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

// maxHelpers is how many jobs that other jobs have started there may be, in
// jobs that Config.MaxJobs allows.
const maxHelpers = 4

// Go starts fn as a job on the loop, from any goroutine. The context carries
// the job and the loop to functions such as Sleep and Dial; it has the values
// of Run's context but is never done, since a job that waited for that would
// stop its thread: a cancelled job learns of it from jobs.ErrCanceled, the
// error of what it pauses in.
//
// An error that fn returns is logged at debug level. Go returns ErrQueueFull
// when Config.MaxQueued calls wait, ErrShutdown once Shutdown has been called, and
// ErrClosed when the loop has ended. A job that has not been started when the loop
// ends never is.
//
// Called inside a job of the same loop, Go starts a helper: a job that is not
// counted in Config.MaxJobs, so that a job may wait for it even if the loop is
// full. There may be four times as many helpers as jobs; then Go returns
// ErrTooManyJobs at once, and nothing waits for anything.
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

// refused is why a loop that shuts down takes no more jobs.
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
		return fmt.Errorf("%w: %d jobs that other jobs have started", ErrTooManyJobs, l.nhelpers)
	}
	l.nhelpers++
	t := l.newTask(&l.helpers)
	t.fn, t.helper = fn, true
	l.load.Add(-1)
	return nil
}

// Post calls fn on the loop's goroutine, outside any job, from any goroutine.
// Functions are called in the order of the calls of Post. fn must not block. Its
// errors are Go's from outside a job.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return jobs.ErrNoFunc
	}
	return l.sendBounded(message{call: fn})
}

// Wake resumes a paused job of this loop, from any goroutine. If the job runs,
// or waits for something of this package (a Conn, Sleep, Await), its next Pause
// ends at once instead: a wake is not lost. Several before the loop sees to
// them are one. It does nothing to a job that has ended. However much else
// waits for the loop, its only error is ErrClosed.
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
