package jobs

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/waitctx"
)

// coroutine runs one job after another. Its fields need no lock: only the pool's
// goroutine and the job use them, and only one of these runs at a time.
type coroutine struct {
	pool  *Pool
	index int                     // in pool.all
	gid   uintptr                 // the goroutine's ID, set once before its first job
	next  func() (struct{}, bool) // switches to the job
	stop  func()
	yield func(struct{}) bool // switches back to the pool's goroutine

	// State of the job in progress.
	id       uint64              // 0: idle
	active   uint64              // id while the job has the thread, otherwise 0
	pause    func(struct{}) bool // what Pause calls: yield, skip or refuse
	pauseErr error               // what Pause returns
	fn       func(Job) error
	wait     *waitctx.WaitCtx
	ownWait  *waitctx.WaitCtx // made when a job that was started without one asks for it
	value    any
	blocked  int // depth of BlockPause
	canceled bool
	refused  int    // calls of Pause since it was cancelled
	resumes  uint64 // since it was started

	// State of the job that has just ended.
	ended   bool
	failed  bool // by a panic, or by a Goexit that refuse did not call
	exiting bool // the goroutine is in runtime.Goexit and cannot be reused
	err     error
}

func (p *Pool) newCoroutine() *coroutine {
	c := &coroutine{pool: p, index: len(p.all)}
	c.next, c.stop = iter.Pull(c.serve)
	p.all = append(p.all, c)
	return c
}

// coroutines maps a goroutine's ID to its *coroutine. An entry is written when the
// coroutine first runs, and deleted when it ends.
var coroutines sync.Map

// serve is the body of the coroutine. Each time it is resumed while idle, it runs a
// job.
func (c *coroutine) serve(yield func(struct{}) bool) {
	c.yield, c.pause = yield, yield
	c.gid = goroutine.ID()
	coroutines.Store(c.gid, c)
	defer coroutines.Delete(c.gid)
	ended := false
	defer func() {
		if ended {
			return
		}
		// The job called runtime.Goexit, so there is no way back into the for
		// loop. Hand over the result from here; end will resume this goroutine
		// once more. This cannot be done in run: if a deferred call of the job
		// panics, run recovers from that, and the Goexit then continues.
		c.exiting = true
		yield(struct{}{})
		panic(errExiting)
	}()
	for {
		c.run()
		if !yield(struct{}{}) {
			ended = true
			return
		}
	}
}

// errExiting replaces a runtime.Goexit that iter.Pull would otherwise pass on to
// the goroutine that resumed the coroutine.
var errExiting = errors.New("jobs: coroutine exits")

// run runs the job's function and stores how it ended.
func (c *coroutine) run() {
	returned := false
	defer func() {
		c.ended = true
		if returned {
			return
		}
		switch v := recover(); {
		case v != nil:
			c.failed, c.err = true, &PanicError{Value: v, Stack: debug.Stack()}
		case c.refused > maxRefused:
			c.err = errIgnoredCancel
		default:
			c.failed, c.err = true, ErrGoexit
		}
	}()
	c.err = c.fn(Job{c, c.id})
	returned = true
}

// end ends the coroutine's goroutine.
func (c *coroutine) end() {
	defer func() {
		if v := recover(); v != nil && v != any(errExiting) {
			panic(v)
		}
	}()
	c.stop()
}

// reset makes the coroutine ready for another job. Handles of the previous job are
// stale after it.
func (c *coroutine) reset() {
	c.id = 0
	c.pause, c.pauseErr = c.yield, nil
	c.fn, c.wait, c.ownWait, c.value = nil, nil, nil, nil
	c.blocked, c.canceled, c.refused, c.resumes = 0, false, 0, 0
	c.ended, c.failed, c.exiting, c.err = false, false, false, nil
}

// skip replaces yield while pausing is blocked.
func skip(struct{}) bool { return true }

// maxRefused is how often a cancelled job may call Pause again before it is ended.
const maxRefused = 1000

var errIgnoredCancel = fmt.Errorf("%w, but it called Pause %d more times", ErrCanceled, maxRefused)

// refuse replaces yield in a job that is being cancelled.
func (c *coroutine) refuse(struct{}) bool {
	if c.refused++; c.refused > maxRefused {
		runtime.Goexit()
	}
	return true
}
