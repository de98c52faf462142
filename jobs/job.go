package jobs

import (
	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/waitctx"
)

// Job is a handle of a job (OpenSSL: ASYNC_JOB). Two handles are equal if they
// belong to the same job. The zero Job means no job. The handle of a finished job
// is stale: it never refers to another job.
type Job struct {
	c  *coroutine
	id uint64
}

// live reports whether the job has not finished yet.
func (j Job) live() bool { return j.c != nil && j.c.id == j.id }

// Inside reports whether the caller is inside the job, that is, in its function and
// on its goroutine. Only there can it pause the job. Inside may be called from any
// goroutine.
func (j Job) Inside() bool {
	// Check the goroutine first: only that goroutine may read active.
	return j.c != nil && j.c.gid == goroutine.ID() && j.c.active == j.id
}

// Current returns the job that the caller is inside. ok is false if it is inside
// none. Current needs no context, but it is slower than FromContext. It may be
// called from any goroutine. On WebAssembly, and with compilers other than gc, it
// never finds a job. (OpenSSL: ASYNC_get_current_job.)
func Current() (j Job, ok bool) {
	id := goroutine.ID()
	v, ok := coroutines.Load(id)
	if !ok || id == 0 { // 0 for every goroutine where IDs are not available
		return Job{}, false
	}
	c := v.(*coroutine)
	return Job{c, c.active}, c.active != 0
}

// ID returns the job's number in its pool. Jobs are numbered from 1 in the order in
// which they are started. The zero Job has the number 0.
func (j Job) ID() uint64 { return j.id }

// Resumes returns how many times the job has been resumed. It returns 0 if the job
// has finished.
func (j Job) Resumes() uint64 {
	if !j.live() {
		return 0
	}
	return j.c.resumes
}

// Resume continues a paused job until it pauses again or ends. It returns a status
// and an error as Start does. ErrFinished means that the handle is stale, and
// ErrNested that the caller is inside a job of the same pool. When the job
// continues, both lists of its WaitCtx's ChangedFDs are empty. (OpenSSL:
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
	// The following is repeated in Start and not a function of its own: after a
	// switch of stacks the processor mispredicts the return from every function
	// that was entered before it, which costs about 7 ns each.
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

// Cancel ends a paused job. The job's Pause, and every further Pause, returns
// ErrCanceled, so that its function can return and its deferred calls run. Cancel
// returns when the job has ended, with the status and error that Resume would
// return. A function that ignores the error and calls Pause another thousand times
// is ended by runtime.Goexit, which also runs its deferred calls.
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

// Pause gives the thread back to the code that started or resumed the job. It
// returns nil when the job is resumed, and ErrCanceled when the job is being
// cancelled. A resume may be spurious: check whether what you wait for has
// happened, and if not, pause again.
//
// Pause returns nil at once while pausing is blocked, and if the caller is not
// inside this job. Code that may be called from elsewhere should check Inside
// first. (OpenSSL: ASYNC_pause_job.)
func (j Job) Pause() error {
	if !j.Inside() { // a switch on the wrong goroutine would end the process
		return nil
	}
	j.c.pause(struct{}{})
	return j.c.pauseErr
}

// WaitCtx returns the job's wait context: the one given to Start, or else one of
// its own. It returns nil if the job has finished. (OpenSSL: ASYNC_get_wait_ctx.)
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

// BlockPause makes Pause return at once until UnblockPause has been called as many
// times as BlockPause, or the job ends. It only has an effect inside the job.
// (OpenSSL: ASYNC_block_pause.)
func (j Job) BlockPause() {
	if !j.Inside() {
		return
	}
	j.c.blocked++
	if !j.c.canceled {
		j.c.pause = skip
	}
}

// UnblockPause undoes one BlockPause. If there is none to undo, it does nothing.
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

// PauseBlocked reports whether pausing is blocked, so that Pause returns at once.
// Code that waits for something then has to block instead of calling Pause again
// and again. It returns false if the caller is not inside the job.
func (j Job) PauseBlocked() bool { return j.Inside() && j.c.blocked > 0 }

// Canceled reports whether the job is being cancelled, so that Pause returns
// ErrCanceled. There is then no point in starting anything to wait for. It returns
// false if the caller is not inside the job.
func (j Job) Canceled() bool { return j.Inside() && j.c.canceled }

// SetValue attaches v to the job until it finishes. The code that runs the pool
// uses it to find its own record of the job. The job's own code must not use it:
// in jobs that package loop runs, the value belongs to package loop.
func (j Job) SetValue(v any) {
	if j.live() {
		j.c.value = v
	}
}

// Value returns the value attached by SetValue. It returns nil if there is none or
// the job has finished.
func (j Job) Value() any {
	if !j.live() {
		return nil
	}
	return j.c.value
}
