// Package jobs runs code that blocks as jobs that pause. It is OpenSSL's ASYNC_JOB
// in Go.
//
// A job is an ordinary function. [Pool.Start] runs it on the calling goroutine's
// thread until it returns or calls [Job.Pause]. [Job.Resume] continues a paused
// job where it stopped. The job records what it waits for in its
// [waitctx.WaitCtx]; the caller has to wait for it. Package loop does that for
// sockets and timers, and is what most programs need. This package is for programs
// that have an event loop of their own.
//
// # Goroutines and threads
//
// A Pool has no lock. It belongs to the goroutine that made it. Only that goroutine
// may call the methods of Pool, Job.Resume and Job.Cancel. The methods that a job
// calls on itself (Pause, WaitCtx, BlockPause and the rest) are for the job's
// function, not for goroutines that it starts: there, Pause returns at once and
// FromContext finds no job. [Job.Inside] and [Current] may be called from any
// goroutine.
//
// A job is a coroutine ([iter.Pull]): control passes to it and back on one thread,
// without the scheduler. A coroutine must be resumed in the same state of
// runtime.LockOSThread in which it was created. If it is not, the Go runtime ends
// the process, and no recover helps. So:
//
//   - A goroutine that locks its thread must do so before NewPool, and unlock it
//     only after Close.
//   - A job that calls LockOSThread, or is in a callback from C, must not pause
//     before it has left that state.
//   - A pool must not be handed from one goroutine to another if either is locked.
//
// A job that waits in any other way than by Pause (on a channel, a mutex, a
// blocking system call) blocks its thread and all jobs on it. A mutex that one job
// holds while it pauses, and that another job of the same thread wants, is a
// deadlock.
//
// Go manages the stacks, so there is no counterpart of ASYNC_set_mem_functions.
package jobs

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/jobloop/jobloop/waitctx"
)

// Capable reports whether this platform can run jobs. Every platform that Go
// supports can. (OpenSSL: ASYNC_is_capable.)
func Capable() bool { return true }

// Pool starts jobs, and keeps the coroutines on which they run for reuse. The
// package comment says which goroutine may use it.
type Pool struct {
	max     int
	all     []*coroutine // busy and idle
	idle    []*coroutine // the last one is used next
	running *coroutine
	seq     uint64 // number of the last job started
	closed  bool
	stats   Stats
}

// Stats counts a pool's jobs. Running, Paused and Idle are current values; the
// others are totals since NewPool. Every job that ends is counted in Finished. If
// it was cancelled or panicked, it is also counted in Canceled or Panicked.
type Stats struct {
	Running  int // 0 or 1
	Paused   int
	Idle     int // coroutines that wait for a job
	Started  uint64
	Finished uint64
	Canceled uint64
	Panicked uint64 // ended by a panic or by runtime.Goexit
}

// NewPool returns a pool of at most maxSize jobs, and creates initSize coroutines
// at once. A maxSize of 0 means no limit. NewPool returns ErrInvalidPoolSize if a
// size is negative, or if initSize is greater than a maxSize that is not 0.
// (OpenSSL: ASYNC_init_thread.)
func NewPool(maxSize, initSize int) (*Pool, error) {
	if maxSize < 0 || initSize < 0 || maxSize != 0 && initSize > maxSize {
		return nil, fmt.Errorf("%w: max %d, init %d", ErrInvalidPoolSize, maxSize, initSize)
	}
	p := &Pool{max: maxSize}
	for range initSize {
		p.idle = append(p.idle, p.newCoroutine())
	}
	return p, nil
}

// Start runs fn as a job until it pauses or ends; the status says which. The
// handle is valid until the job has finished. The job's WaitCtx is w. If w is nil,
// the job has a WaitCtx of its own, which is closed when it finishes.
//
// With StatusPaused the error is nil, with StatusFinished it is what fn returned,
// and with StatusNoJobs it is ErrNoJobs. With StatusError it is a *PanicError,
// ErrGoexit, ErrNested, ErrNoFunc or ErrPoolClosed. (OpenSSL: ASYNC_start_job with
// a NULL job.)
func (p *Pool) Start(w *waitctx.WaitCtx, fn func(Job) error) (Job, Status, error) {
	switch {
	case p.running != nil:
		return Job{}, StatusError, ErrNested
	case p.closed:
		return Job{}, StatusError, ErrPoolClosed
	case fn == nil:
		return Job{}, StatusError, ErrNoFunc
	}
	var c *coroutine
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
	} else if p.max != 0 && len(p.all) >= p.max {
		return Job{}, StatusNoJobs, ErrNoJobs
	} else {
		c = p.newCoroutine()
	}
	p.seq++
	p.stats.Started++
	c.id, c.fn, c.wait = p.seq, fn, w
	j := Job{c, p.seq}
	c.active = c.id
	p.running = c
	c.next()
	p.running = nil
	c.active = 0
	if !c.ended {
		return j, StatusPaused, nil
	}
	st, err := p.retire(c)
	return j, st, err
}

// retire takes the result of c's finished job and makes c idle.
func (p *Pool) retire(c *coroutine) (Status, error) {
	st, err := StatusFinished, c.err
	if c.failed {
		st = StatusError
		p.stats.Panicked++
	}
	if c.canceled {
		p.stats.Canceled++
	}
	p.stats.Finished++
	own, failed, exiting := c.ownWait, c.failed, c.exiting
	c.reset()
	if exiting {
		p.remove(c)
	} else {
		p.idle = append(p.idle, c)
	}
	if own != nil { // last, because a cleanup may use the pool
		if perr := closeWait(own); perr != nil && !failed {
			st, err = StatusError, perr
			p.stats.Panicked++
		}
	}
	return st, err
}

// closeWait closes a job's own WaitCtx. If a cleanup panics, that counts as a panic
// of the job, and does not reach the code that resumed it.
func closeWait(w *waitctx.WaitCtx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return w.Close()
}

// remove ends a coroutine that has no job.
func (p *Pool) remove(c *coroutine) {
	last := len(p.all) - 1
	p.all[c.index] = p.all[last]
	p.all[c.index].index = c.index
	p.all[last] = nil
	p.all = p.all[:last]
	c.end()
}

// Current returns the running job, or the zero Job if none is running. (OpenSSL:
// ASYNC_get_current_job.)
func (p *Pool) Current() Job {
	if p.running == nil {
		return Job{}
	}
	return Job{p.running, p.running.id}
}

// Stats returns the current counts. It may be called from inside a job.
func (p *Pool) Stats() Stats {
	s := p.stats
	if p.running != nil {
		s.Running = 1
	}
	s.Idle = len(p.idle)
	s.Paused = len(p.all) - s.Idle - s.Running
	return s
}

// Trim ends idle coroutines until at most keep are left. This frees the memory of
// their stacks after a burst of jobs. Inside a job it does nothing.
func (p *Pool) Trim(keep int) {
	if p.running != nil {
		return
	}
	n := len(p.idle) - max(keep, 0)
	if n <= 0 {
		return
	}
	for _, c := range p.idle[:n] { // those that have been idle the longest
		p.remove(c)
	}
	p.idle = slices.Delete(p.idle, 0, n)
}

// CancelAll cancels every paused job as Job.Cancel does, in the order in which they
// were started. It returns the errors of those that panicked or called
// runtime.Goexit, joined. Inside a job it returns ErrNested.
func (p *Pool) CancelAll() error {
	if p.running != nil {
		return ErrNested
	}
	paused := make([]Job, 0, len(p.all)-len(p.idle))
	for _, c := range p.all {
		if c.id != 0 {
			paused = append(paused, Job{c, c.id})
		}
	}
	slices.SortFunc(paused, func(a, b Job) int { return cmp.Compare(a.id, b.id) })
	var errs []error
	for _, j := range paused {
		// The cleanup of one job may have ended another.
		if st, err := j.Cancel(); st == StatusError && err != ErrFinished {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close ends the pool's coroutines. While jobs are paused, it frees nothing and
// returns ErrJobsOutstanding with their number: resume them or call CancelAll, then
// call Close again. Inside a job it returns ErrNested. Closing a closed pool does
// nothing. (OpenSSL: ASYNC_cleanup_thread.)
func (p *Pool) Close() error {
	if p.running != nil {
		return ErrNested
	}
	if n := p.Stats().Paused; n > 0 {
		return fmt.Errorf("%w: %d paused", ErrJobsOutstanding, n)
	}
	p.closed = true
	p.Trim(0)
	return nil
}
