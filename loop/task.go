package loop

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/panicvalue"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// task is the loop's record of one job. When the job has ended, the task and
// everything in it is reused.
type task struct {
	loop  *Loop
	job   jobs.Job
	state taskState
	wait  waitctx.WaitCtx

	// What the job runs: a function given to Go, or a connection's handler.
	fn      func(context.Context) error
	conn    *Conn
	handler Handler

	index    int           // in loop.tasks
	next     *task         // in one of the loop's queues, or in freeTasks
	queued   bool          // in ready, shaking or early
	since    int64         // when it was queued in fresh, starts or early
	cancel   bool          // to be cancelled when it next gets the thread
	counted  bool          // in inbox.queued until it starts
	helper   bool          // started by another job
	ops      int           // system calls that moved bytes since it was resumed
	inLoop   bool          // it pauses in a function of this package
	yielding bool          // it pauses only to let others go first
	waitsFor *Conn         // the connection it pauses for
	woken    bool          // a wake came while it did not wait for one
	watching []*watch      // descriptors of its WaitCtx
	waiter   waiter        // for Conn.await
	timer    timer         // for Sleep and lookLater
	interval time.Duration // see lookLater
	waking   atomic.Bool   // a wake is in the inbox
	body     func(jobs.Job) error
}

type taskState uint8

const (
	taskFree     taskState = iota
	taskStarting           // in a queue of jobs to be started
	taskRunning
	taskPaused
)

// taskList is a queue of tasks, linked through task.next.
type taskList struct {
	head, tail *task
	n          int
}

func (q *taskList) push(t *task) {
	t.next = nil
	if q.tail == nil {
		q.head = t
	} else {
		q.tail.next = t
	}
	q.tail = t
	q.n++
}

func (q *taskList) pop() *task {
	t := q.head
	q.head = t.next
	if q.head == nil {
		q.tail = nil
	}
	t.next = nil
	q.n--
	return t
}

// newTask queues a job to be started.
func (l *Loop) newTask(q *taskList) *task {
	t := l.freeTasks
	if t != nil {
		l.freeTasks = t.next
		t.next = nil
	} else {
		t = &task{loop: l}
		t.timer.owner = t
		t.waiter.task = t
		t.body = t.main
	}
	t.state = taskStarting
	t.index = len(l.tasks)
	l.tasks = append(l.tasks, t)
	l.load.Add(1)
	q.push(t)
	return t
}

// freeTask frees a task whose job has ended or never began.
func (l *Loop) freeTask(t *task) {
	last := len(l.tasks) - 1
	l.tasks[t.index] = l.tasks[last]
	l.tasks[t.index].index = t.index
	l.tasks[last] = nil
	l.tasks = l.tasks[:last]
	if t.helper {
		t.helper = false
		l.nhelpers--
	} else {
		l.load.Add(-1)
	}
	t.state = taskFree
	t.job, t.fn, t.conn, t.handler = jobs.Job{}, nil, nil, nil
	t.cancel, t.inLoop, t.yielding, t.woken = false, false, false, false
	t.next = l.freeTasks
	l.freeTasks = t
}

// main is the body of every job of the loop.
func (t *task) main(j jobs.Job) error {
	t.job = j
	j.SetValue(t)
	ctx := jobs.NewContext(t.loop.jobCtx, j)
	if t.conn != nil {
		return t.handler.Serve(ctx, t.conn)
	}
	return t.fn(ctx)
}

// currentTask returns the task of the job that ctx carries. It returns
// ErrNotInJob if that job is not the running one.
func currentTask(ctx context.Context) (*task, error) {
	j, ok := jobs.FromContext(ctx)
	if !ok {
		return nil, ErrNotInJob
	}
	t, ok := j.Value().(*task)
	if !ok || t.loop.current != t {
		return nil, ErrNotInJob
	}
	return t, nil
}

// pause pauses t's job, which is the caller's, for something the loop itself
// waits for: wakes and events of the job's WaitCtx do not end the pause. paused is
// false if pausing is blocked.
func (t *task) pause() (paused bool, err error) {
	n := t.job.Resumes()
	t.inLoop = true
	err = t.job.Pause()
	t.inLoop = false
	return t.job.Resumes() != n, err
}

// waitsElsewhere reports whether the job has paused for something other than its
// own connection.
func (t *task) waitsElsewhere() bool {
	return t.state == taskPaused && !t.yielding && t.waitsFor != t.conn
}

// cancelPaused makes the loop cancel a paused job.
func (t *task) cancelPaused() {
	t.cancel = true
	t.ready()
}

// start starts t's job.
func (l *Loop) start(t *task) {
	if t.counted {
		t.counted = false
		l.in.release()
	}
	if t.cancel { // its connection was overdue
		l.freeTask(t)
		return
	}
	t.wait.SetCallback(l.wakeCallback, t)
	t.state = taskRunning
	t.ops = 0
	l.current = t
	l.step()
	_, st, err := l.pool.Start(&t.wait, t.body)
	l.current = nil
	l.stopped(t, st, err)
}

// resume resumes t's job, or cancels it.
func (l *Loop) resume(t *task) {
	t.queued = false
	t.state = taskRunning
	t.ops = 0
	l.current = t
	l.step()
	var st jobs.Status
	var err error
	if t.cancel {
		st, err = t.job.Cancel()
	} else {
		st, err = t.job.Resume()
	}
	l.current = nil
	l.stopped(t, st, err)
}

// stopped handles a job that has paused or ended.
func (l *Loop) stopped(t *task, st jobs.Status, err error) {
	if st == jobs.StatusPaused {
		t.state = taskPaused
		l.learn(t)
		return
	}
	c := t.conn
	if c != nil && (err != nil || t.cancel) { // it may have called Park before
		c.next = nil
	}
	if c != nil && (t.cancel || st == jobs.StatusError) {
		c.silent = true
	}
	if err != nil {
		l.logEnd(t, st, err)
	}
	l.forget(t)
	l.closeWait(t)
	l.freeTask(t)
	if c != nil {
		c.served()
	}
}

// closeWait runs the cleanups of the descriptors that the job left registered.
func (l *Loop) closeWait(t *task) {
	defer l.recoverPanic("cleanup of a wait descriptor panicked")
	t.wait.Close()
}

func (l *Loop) logEnd(t *task, st jobs.Status, err error) {
	if st == jobs.StatusFinished && !l.logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := make([]slog.Attr, 0, 4)
	if t.conn != nil {
		if a := t.conn.RemoteAddr(); a != nil {
			attrs = append(attrs, slog.String("remote", a.String()))
		}
	}
	var p *jobs.PanicError
	switch {
	case st == jobs.StatusError && errors.As(err, &p):
		attrs = append(attrs, slog.Any("panic", panicvalue.Value{V: p.Value}), slog.String("stack", string(p.Stack)))
		l.log(slog.LevelError, "job panicked", attrs...)
	case st == jobs.StatusError:
		l.log(slog.LevelError, "job failed", append(attrs, slog.Any("error", err))...)
	default:
		l.log(slog.LevelDebug, "job returned an error", append(attrs, slog.Any("error", err))...)
	}
}

// call calls a function that is not the loop's own, and survives its panic.
func (l *Loop) call(f func()) {
	l.step()
	if l.ending { // runtime.Goexit must not keep the rest from being done
		done := make(chan bool)
		go func() {
			defer close(done)
			defer l.recoverPanic("function called by the loop panicked")
			f()
		}()
		<-done
		return
	}
	defer l.recoverPanic("function called by the loop panicked")
	f()
}

// recoverPanic recovers from a panic and logs it. It must be deferred.
func (l *Loop) recoverPanic(msg string) {
	if v := recover(); v != nil {
		l.log(slog.LevelError, msg, slog.Any("panic", panicvalue.Value{V: v}), slog.String("stack", string(debug.Stack())))
	}
}
