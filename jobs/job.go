package jobs

import (
	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/waitctx"
)

// Job is a handle of a job (OpenSSL: ASYNC_JOB). Handles of the same job are
// equal, those of different jobs are not, and the zero Job means none. The
// handle of a job that has finished is stale: it never comes to mean another.
type Job struct {
	c  *coroutine
	id uint64
}

// live reports whether the job has not finished yet.
func (j Job) live() bool { return j.c != nil && j.c.id == j.id }

// Inside reports whether the caller is inside the job: in its function, on its
// goroutine. Any goroutine may ask. It tells code that was given a job whether
// it may pause it.
func (j Job) Inside() bool {
	// The goroutine first: what follows belongs to it.
	return j.c != nil && j.c.gid == goroutine.ID() && j.c.active == j.id
}

// Current returns the job that the caller is inside; ok is false if it is
// inside none. It finds the job without a context, and takes longer than
// FromContext does. Any goroutine may ask. It finds none on WebAssembly and with
// compilers other than gc. (OpenSSL: ASYNC_get_current_job.)
func Current() (j Job, ok bool) {
	id := goroutine.ID()
	v, ok := coroutines.Load(id)
	if !ok || id == 0 { // which all goroutines have where there is no number
		return Job{}, false
	}
	c := v.(*coroutine)
	return Job{c, c.active}, c.active != 0
}

// ID returns the job's number in its pool: 1 for the first that was started.
// It is 0 for the zero Job.
func (j Job) ID() uint64 { return j.id }

// Resumes returns how many times the job has been resumed. It is 0 when the job
// has finished.
func (j Job) Resumes() uint64 {
	if !j.live() {
		return 0
	}
	return j.c.resumes
}

// Resume lets a paused job go on until it pauses again or ends. Status and
// error are as Start returns them; ErrFinished says that the handle is stale,
// and ErrNested that the caller is inside a job of the same pool. The lists of
// the WaitCtx's ChangedFDs are empty when the job goes on. (OpenSSL:
// ASYNC_start_job with a job.)
func (j Job) Resume() (Status, error) {
	c := j.c
	if c == nil || c.id != j.id {
		return StatusError, ErrFinished
	}
	p := c.pool
	if p.running != nil {
		return StatusError, ErrNested
	}
	if c.wait != nil {
		c.wait.ResetChanges()
	}
	// Here as in Start, and not in a function of its own: after a switch of
	// stacks the processor mispredicts the return from every function that was
	// entered before it, at about 7 ns each.
	c.active = c.id
	c.resumes++
	p.running = c
	c.next()
	p.running = nil
	c.active = 0
	if !c.ended {
		return StatusPaused, nil
	}
	return p.retire(c)
}

// Cancel ends a paused job: its Pause returns ErrCanceled, as does every
// further Pause, so that its function can return and its deferred calls run.
// Cancel returns when it has, with the status and error that Resume would
// give. A function that goes on to pause a thousand times more, in a loop that
// ignores Pause's error, is ended by runtime.Goexit; its deferred calls run
// too.
func (j Job) Cancel() (Status, error) {
	if !j.live() {
		return StatusError, ErrFinished
	}
	if j.c.pool.running != nil {
		return StatusError, ErrNested
	}
	j.c.canceled = true
	j.c.pause, j.c.pauseErr = j.c.refuse, ErrCanceled
	return j.Resume()
}

// Pause gives the thread back to whoever started or resumed the job, and
// returns nil when the job is resumed. A resume may be spurious: check what
// you wait for and pause again. It returns nil at once while pausing is
// blocked, and to a caller that is not inside this job: code that may be
// called from elsewhere asks Inside first. It returns ErrCanceled when the job
// is being cancelled. (OpenSSL: ASYNC_pause_job.)
func (j Job) Pause() error {
	if !j.Inside() { // a switch on the wrong goroutine would end the process
		return nil
	}
	j.c.pause(struct{}{})
	return j.c.pauseErr
}

// WaitCtx returns the job's wait context: what was given to Start, or one of
// the job's own. It is nil when the job has finished. (OpenSSL:
// ASYNC_get_wait_ctx.)
func (j Job) WaitCtx() *waitctx.WaitCtx {
	if !j.live() {
		return nil
	}
	if j.c.wait == nil {
		j.c.ownWait = waitctx.New()
		j.c.wait = j.c.ownWait
	}
	return j.c.wait
}

// BlockPause makes Pause return at once until as many calls of UnblockPause
// have been made. The job's end ends it too. It has an effect inside the job
// only. (OpenSSL: ASYNC_block_pause.)
func (j Job) BlockPause() {
	if !j.Inside() {
		return
	}
	j.c.blocked++
	if !j.c.canceled {
		j.c.pause = skip
	}
}

// UnblockPause takes one BlockPause back. Without one it does nothing.
// (OpenSSL: ASYNC_unblock_pause.)
func (j Job) UnblockPause() {
	if !j.Inside() || j.c.blocked == 0 {
		return
	}
	j.c.blocked--
	if j.c.blocked == 0 && !j.c.canceled {
		j.c.pause = j.c.yield
	}
}

// PauseBlocked reports whether pausing is blocked, so that Pause would return at
// once: code that waits for something then has to block instead of pausing
// again and again. It is false to a caller that is not inside the job.
func (j Job) PauseBlocked() bool { return j.Inside() && j.c.blocked > 0 }

// Canceled reports whether the job is being cancelled, so that Pause would
// return ErrCanceled: there is no point in beginning what has to be waited for.
// It is false to a caller that is not inside the job.
func (j Job) Canceled() bool { return j.Inside() && j.c.canceled }

// SetValue keeps v with the job until it finishes, for whoever runs the pool
// to find its own record of the job by. It is not for the job's own code: in
// jobs that package loop runs, the value is loop's.
func (j Job) SetValue(v any) {
	if j.live() {
		j.c.value = v
	}
}

// Value returns what SetValue stored, nil if nothing or if the job has
// finished.
func (j Job) Value() any {
	if !j.live() {
		return nil
	}
	return j.c.value
}
