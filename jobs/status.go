package jobs

import (
	"errors"
	"fmt"

	"github.com/jobloop/jobloop/internal/panicvalue"
)

// Status is the result of starting or resuming a job. (OpenSSL: the return values
// of ASYNC_start_job, which are the same.)
type Status int

const (
	// StatusError means that the job could not be started or resumed, or that it
	// ended by a panic or runtime.Goexit. The error says which.
	StatusError Status = iota
	// StatusNoJobs means that the pool is full. Try again when a job has finished.
	StatusNoJobs
	// StatusPaused means that the job has paused.
	StatusPaused
	// StatusFinished means that the job's function has returned. The error is the
	// one that it returned.
	StatusFinished
)

var statusNames = [...]string{"error", "no jobs", "paused", "finished"}

func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "invalid status"
	}
	return statusNames[s]
}

var (
	// ErrInvalidPoolSize is returned by NewPool for a negative size, or for an
	// initial size above the maximum.
	ErrInvalidPoolSize = errors.New("jobs: invalid pool size")
	// ErrJobsOutstanding is returned by Close while jobs are paused.
	ErrJobsOutstanding = errors.New("jobs: jobs outstanding")
	// ErrPoolClosed is returned by Start on a closed pool.
	ErrPoolClosed = errors.New("jobs: pool closed")
	// ErrNoJobs is returned with StatusNoJobs.
	ErrNoJobs = errors.New("jobs: pool is full")
	// ErrNested says that the call was made inside a running job of the same pool.
	ErrNested = errors.New("jobs: called from inside a job of the same pool")
	// ErrNoFunc is returned by Start for a nil function.
	ErrNoFunc = errors.New("jobs: no function to run")
	// ErrFinished says that the handle's job has finished, or that the handle is the
	// zero Job.
	ErrFinished = errors.New("jobs: job has finished")
	// ErrCanceled is returned by Pause in a job that is being cancelled.
	ErrCanceled = errors.New("jobs: job canceled")
	// ErrGoexit says that the job called runtime.Goexit, as testing.T.FailNow does.
	ErrGoexit = errors.New("jobs: job called runtime.Goexit")
)

// PanicError is the error of a job that panicked. If a job has its own WaitCtx and
// one of its cleanups panics, that counts too. The error comes with StatusError.
type PanicError struct {
	Value any    // what the job panicked with
	Stack []byte // the job's own stack at the panic, as runtime/debug.Stack prints it
}

// Error returns the value and the stack as text.
func (e *PanicError) Error() string {
	return fmt.Sprintf("jobs: job panicked: %s\n\n%s", panicvalue.Text(e.Value), e.Stack)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
