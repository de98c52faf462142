package loop

import (
	"errors"
	"net"
)

var (
	// ErrClosed: the loop has ended.
	ErrClosed = errors.New("loop: closed")
	// ErrRunning: Run was called a second time.
	ErrRunning = errors.New("loop: already running")
	// ErrQueueFull: Config.MaxQueued calls wait already. Try again later.
	ErrQueueFull = errors.New("loop: queue is full")
	// ErrShutdown is what a Read of a parked connection ends with when the loop
	// shuts down.
	ErrShutdown = errors.New("loop: shutting down")
	// ErrNotInJob: the context is not that of the job which is running.
	ErrNotInJob = errors.New("loop: not inside a job of this loop")
	// ErrUnsupported is New's answer on systems with neither epoll nor kqueue.
	ErrUnsupported = errors.New("loop: not supported on this system")
)

// ErrWouldBlock is what Read returns instead of pausing its job after
// SetReadNonblock(true). It is a net.Error whose Temporary method returns
// true: crypto/tls keeps its state over such an error, and reads on later.
var ErrWouldBlock net.Error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "loop: read would block" }
func (wouldBlockError) Timeout() bool   { return false }
func (wouldBlockError) Temporary() bool { return true }
