package offload_test

import (
	"context"
	"testing"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/waitctx"
)

// reactor runs jobs. Its methods are for the test's goroutine.
type reactor interface {
	// Go starts fn as a job. Its error comes from the channel.
	Go(fn func(ctx context.Context) error) <-chan error
	// Resume resumes all paused jobs, which did not expect it.
	Resume()
	// Cancel cancels all jobs, and is the last call.
	Cancel()
}

// onReactors runs a test for each way of waking on several reactors.
func onReactors(t *testing.T, test func(t *testing.T, r reactor, mode offload.WakeMode)) {
	for _, r := range []struct {
		name string
		new  func(t testing.TB) reactor
		mode offload.WakeMode
	}{
		{"loop, callback", newLoopReactor, offload.WakeCallback},
		{"loop, fd", newLoopReactor, offload.WakeFD},
		{"channel, callback", newChanReactor, offload.WakeCallback},
		{"poll, fd", newPollReactor, offload.WakeFD},
		{"poll, no callback", newPollReactor, offload.WakeCallback},
	} {
		t.Run(r.name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			test(t, r.new(t), r.mode)
		})
	}
}

// loopReactor is a Loop.
type loopReactor struct {
	t    testing.TB
	l    *loop.Loop
	jobs []jobs.Job // of the loop's goroutine
}

func newLoopReactor(t testing.TB) reactor {
	return &loopReactor{t: t, l: looptest.New(t, loop.Config{})}
}

func (r *loopReactor) Go(fn func(ctx context.Context) error) <-chan error {
	r.t.Helper()
	done := make(chan error, 1)
	err := r.l.Go(looptest.Report(done, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		r.jobs = append(r.jobs, j)
		return fn(ctx)
	}))
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

func (r *loopReactor) Resume() {
	r.t.Helper()
	if err := r.l.Post(func() {
		for _, j := range r.jobs {
			r.l.Ready(j)
		}
	}); err != nil {
		r.t.Fatal(err)
	}
	looptest.Settle(r.t, r.l)
}

func (r *loopReactor) Cancel() { r.l.Close() }

// handReactor is what the reactors written for these tests have in common: a
// pool, and a goroutine that runs it.
type handReactor struct {
	t       testing.TB
	pool    *jobs.Pool
	calls   chan func() // for the goroutine
	quit    chan bool
	ended   chan bool
	wake    func()          // the goroutine, after a call has been sent
	prepare func(*handTask) // before a job is started, and before it is resumed
	tasks   map[*handTask]bool
}

type handTask struct {
	job    jobs.Job
	wait   waitctx.WaitCtx
	ticket *ticket // that the callback is good for
}

type ticket struct{ task *handTask }

func newHandReactor(t testing.TB) *handReactor {
	return &handReactor{
		t:       t,
		calls:   make(chan func(), 100),
		quit:    make(chan bool),
		ended:   make(chan bool),
		wake:    func() {},
		prepare: func(*handTask) {},
		tasks:   make(map[*handTask]bool),
	}
}

// run runs the pool until the test ends: wait returns when there may be calls.
func (r *handReactor) run(wait func()) {
	r.t.Cleanup(func() {
		close(r.quit)
		r.wake()
		<-r.ended
	})
	go func() {
		defer close(r.ended)
		r.pool, _ = jobs.NewPool(0, 0)
		for {
			wait()
			select {
			case call := <-r.calls:
				call()
			case <-r.quit:
				r.cancelAll()
				if err := r.pool.Close(); err != nil {
					r.t.Error(err)
				}
				return
			default:
			}
		}
	}()
}

// send has the goroutine call f.
func (r *handReactor) send(f func()) {
	select {
	case r.calls <- f:
		r.wake()
	case <-r.ended:
	}
}

func (r *handReactor) do(f func()) {
	r.t.Helper()
	done := make(chan bool)
	r.send(func() { f(); close(done) })
	testkit.Receive(r.t, done)
}

func (r *handReactor) Go(fn func(ctx context.Context) error) <-chan error {
	done := make(chan error, 1)
	fn = looptest.Report(done, fn)
	r.send(func() {
		task := new(handTask)
		r.prepare(task)
		j, st, err := r.pool.Start(&task.wait, func(j jobs.Job) error {
			task.job = j
			fn(jobs.NewContext(context.Background(), j))
			return nil
		})
		task.job = j
		r.stopped(task, st, err)
	})
	return done
}

func (r *handReactor) Resume() {
	r.t.Helper()
	r.do(func() {
		for task := range r.tasks {
			r.resume(task)
		}
	})
}

func (r *handReactor) Cancel() {
	r.t.Helper()
	r.do(r.cancelAll)
}

func (r *handReactor) cancelAll() {
	for task := range r.tasks {
		st, err := task.job.Cancel()
		r.stopped(task, st, err)
	}
}

func (r *handReactor) resume(task *handTask) {
	r.prepare(task)
	st, err := task.job.Resume()
	r.stopped(task, st, err)
}

func (r *handReactor) stopped(task *handTask, st jobs.Status, err error) {
	if st == jobs.StatusPaused {
		r.tasks[task] = true
		if len(task.wait.AllFDs(nil)) == 0 && !task.wait.CallbackTaken() {
			r.t.Error("a job has paused that nobody will wake")
		}
		if task.wait.CallbackTaken() && task.wait.Status() != waitctx.StatusOK {
			r.t.Errorf("a job that expects a call has status %v", task.wait.Status())
		}
		return
	}
	if st == jobs.StatusError {
		r.t.Errorf("job: %v", err)
	}
	delete(r.tasks, task)
	if fds := task.wait.AllFDs(nil); len(fds) > 0 {
		r.t.Errorf("a job has ended with descriptors %d in its WaitCtx", fds)
	}
	if s := task.wait.Status(); s != waitctx.StatusUnsupported {
		r.t.Errorf("a job has ended with status %v", s)
	}
	task.wait.Close()
}

// newChanReactor returns a reactor that waits for callbacks, on a channel.
// Each callback is good for one resume: it must have been taken since the last.
func newChanReactor(t testing.TB) reactor {
	r := newHandReactor(t)
	r.prepare = func(task *handTask) {
		task.ticket = &ticket{task}
		task.wait.SetCallback(func(arg any) error {
			r.send(func() {
				if tk := arg.(*ticket); tk.task.ticket == tk && r.tasks[tk.task] {
					r.resume(tk.task)
				}
			})
			return nil
		}, task.ticket)
	}
	r.run(func() {
		select {
		case call := <-r.calls:
			call()
		case <-r.quit:
		}
	})
	return r
}
