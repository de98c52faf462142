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
	closed bool

	n        atomic.Int32 // len(msgs), for a look without the lock
	queued   atomic.Int32 // calls of Go, Post and Wake that the loop has not taken up
	sleeping atomic.Bool  // the loop may be in a blocking wait
}

// message is one of: a job to start, a function to call, a job or a task to
// wake, a connection to close, an accepted descriptor to serve, a listener.
type message struct {
	start   func(context.Context) error
	call    func()
	job     jobs.Job
	task    *task
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
	if in.closed {
		in.mu.Unlock()
		return ErrClosed
	}
	in.msgs = append(in.msgs, m)
	in.n.Store(int32(len(in.msgs)))
	err := l.wakeIfAsleep()
	in.mu.Unlock()
	return err
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
	case m.start != nil:
		t := l.newTask()
		t.fn = m.start
		t.counted = true
	case m.call != nil:
		l.call(m.call)
	case m.conn != nil:
		m.conn.closeNow()
	case m.deal != nil:
		l.takeDeal(m.deal)
	case m.listen != nil:
		m.listen.register()
	default:
		l.Ready(m.job)
	}
}

// wake resumes t's job, wherever it has paused. A call that comes too late, for
// a job that has ended, may wake the next one on the same task: a spurious
// resume, no more.
func (t *task) wake() {
	if t.wait.CallbackTaken() { // once more, from here on, it has to be taken
		t.wait.SetCallback(t.loop.wakeCallback, t)
	}
	t.ready()
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

// Go starts fn as a job on the loop, from any goroutine. The context carries
// the job and the loop to functions such as Sleep and Dial; it has the values
// of Run's context but is never done, since a job that waited for that would
// stop its thread: a cancelled job learns of it from jobs.ErrCanceled, the
// error of what it pauses in.
//
// An error that fn returns is logged at debug level. Go returns ErrQueueFull
// when Config.MaxQueued calls wait, and ErrClosed when the loop has ended. A
// job that has not been started when the loop ends never is.
func (l *Loop) Go(fn func(ctx context.Context) error) error {
	if fn == nil {
		return jobs.ErrNoFunc
	}
	return l.sendBounded(message{start: fn})
}

// Post calls fn on the loop's goroutine, outside any job, from any goroutine.
// Functions are called in the order of the calls of Post. fn must not block. Its
// errors are Go's.
func (l *Loop) Post(fn func()) error {
	if fn == nil {
		return jobs.ErrNoFunc
	}
	return l.sendBounded(message{call: fn})
}

// Wake resumes a paused job of this loop, from any goroutine. It does nothing
// to one that has ended. Its errors are ErrQueueFull and ErrClosed. The
// callback in a job's WaitCtx does the same at less cost.
func (l *Loop) Wake(j jobs.Job) error { return l.sendBounded(message{job: j}) }
