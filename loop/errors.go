package loop

import (
	"errors"
	"net"

	"github.com/jobloop/jobloop/internal/tlsio"
)

var (
	// ErrClosed: the loop has ended.
	ErrClosed = errors.New("loop: closed")
	// ErrRunning: Run was called a second time.
	ErrRunning = errors.New("loop: already running")
	// ErrQueueFull: Config.MaxQueued calls wait already. Try again later.
	ErrQueueFull = errors.New("loop: queue is full")
	// ErrShutdown is what a Read of a parked connection ends with when the loop
	// shuts down, and Go from outside the loop.
	ErrShutdown = errors.New("loop: shutting down")
	// ErrNotInJob: the call would have to pause the running job, and the caller
	// is not inside it, or the context is not that job's. Goroutines that a job
	// starts are outside it.
	ErrNotInJob = errors.New("loop: not inside a job of this loop")
	// ErrTooManyJobs: four times Config.MaxJobs jobs that other jobs have started
	// are alive. See Loop.Go.
	ErrTooManyJobs = errors.New("loop: too many jobs")
	// ErrOnLoop: the call waits for the loop, and was made on the loop's own
	// goroutine.
	ErrOnLoop = errors.New("loop: called on the loop's own goroutine, which it would wait for")
	// ErrInUse: another job reads from the TLS connection already, or writes to it.
	// One job may do each.
	ErrInUse = errors.New("loop: another job reads or writes already")
	// ErrOverloaded is what OnHandshake is told of a connection that was turned
	// away because it had waited longer than Config.MaxWait.
	ErrOverloaded = errors.New("loop: overloaded: the connection had waited too long")
	// ErrClientGone is what OnHandshake is told of a connection whose client had
	// closed it before its turn came.
	ErrClientGone = errors.New("loop: the client has gone before its handshake")
	// ErrUnsupported is New's answer on systems with neither epoll nor kqueue.
	ErrUnsupported = errors.New("loop: not supported on this system")
)

// ErrWouldBlock is what the methods of Conn and TLSConn return on the loop's
// goroutine outside any job, instead of waiting. It is a net.Error.
var ErrWouldBlock net.Error = tlsio.ErrWouldBlock
