package jobs

import (
	"errors"
	"fmt"
)

// Status says what became of a job when it was started or resumed (OpenSSL:
// the return values of ASYNC_start_job, which these equal).
type Status int

const (
	// StatusError: the job could not be started or resumed, or it ended in a
	// panic or in runtime.Goexit. The error says which.
	StatusError Status = iota
	// StatusNoJobs: the pool is full. Try again when a job has finished.
	StatusNoJobs
	// StatusPaused: the job has paused.
	StatusPaused
	// StatusFinished: the job's function has returned; the error is what it
	// returned.
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
	// ErrInvalidPoolSize is NewPool's answer to a negative size, or to an
	// initial size above the maximum.
	ErrInvalidPoolSize = errors.New("jobs: invalid pool size")
	// ErrJobsOutstanding is Close's answer while jobs are paused.
	ErrJobsOutstanding = errors.New("jobs: jobs outstanding")
	// ErrPoolClosed is Start's answer on a closed pool.
	ErrPoolClosed = errors.New("jobs: pool closed")
	// ErrNoJobs comes with StatusNoJobs.
	ErrNoJobs = errors.New("jobs: pool is full")
	// ErrNested: called from inside a running job of the same pool.
	ErrNested = errors.New("jobs: called from inside a job of the same pool")
	// ErrNoFunc is Start's answer to a nil function.
	ErrNoFunc = errors.New("jobs: no function to run")
	// ErrFinished: the handle's job has finished, or it is the zero Job.
	ErrFinished = errors.New("jobs: job has finished")
	// ErrCanceled is what Pause returns in a job that is being cancelled.
	ErrCanceled = errors.New("jobs: job canceled")
	// ErrGoexit: the job called runtime.Goexit (as testing.T.FailNow does).
	ErrGoexit = errors.New("jobs: job called runtime.Goexit")
)

// PanicError is the error of a job that panicked, or of whose own WaitCtx a
// cleanup did. It comes with StatusError.
type PanicError struct {
	Value any    // what the job panicked with
	Stack []byte // the job's own stack at the panic, as runtime/debug.Stack prints it
}

// Error gives the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("jobs: job panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
