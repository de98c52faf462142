package loop

import (
	"errors"
	"net"

	"github.com/jobloop/jobloop/internal/tlsio"
)

var (
	// ErrClosed says that the loop has ended.
	ErrClosed = errors.New("loop: closed")
	// ErrRunning says that Run was called a second time.
	ErrRunning = errors.New("loop: already running")
	// ErrQueueFull says that Config.MaxQueued calls are waiting. Try again later.
	ErrQueueFull = errors.New("loop: queue is full")
	// ErrShutdown is returned while the loop shuts down: by Read on a connection
	// that was parked, and by Go called outside the loop's jobs.
	ErrShutdown = errors.New("loop: shutting down")
	// ErrNotInJob says that the call would have to pause the running job, but the
	// caller is not inside it, or the context is not that job's. Goroutines that a
	// job starts are outside it.
	ErrNotInJob = errors.New("loop: not inside a job of this loop")
	// ErrTooManyJobs says that jobs have started too many other jobs: four times
	// Config.MaxJobs of them are alive. See Loop.Go.
	ErrTooManyJobs = errors.New("loop: too many jobs")
	// ErrOnLoop says that a call which waits for the loop was made on the loop's
	// own goroutine.
	ErrOnLoop = errors.New("loop: called on the loop's own goroutine, so it would wait for itself")
	// ErrInUse says that another job is already reading from the TLS connection,
	// or writing to it. One job may read while another writes.
	ErrInUse = errors.New("loop: another job is already reading or writing")
	// ErrOverloaded is the error OnHandshake gets for a connection that was turned
	// away because it had waited longer than Config.MaxWait.
	ErrOverloaded = errors.New("loop: overloaded: the connection waited too long")
	// ErrClientGone is the error OnHandshake gets for a connection whose client
	// closed it before its turn came.
	ErrClientGone = errors.New("loop: the client left before its handshake")
	// ErrUnsupported is returned by New on systems with neither epoll nor kqueue.
	ErrUnsupported = errors.New("loop: not supported on this system")
)

// ErrWouldBlock is returned by the methods of Conn and TLSConn instead of
// waiting, when they are called on the loop's goroutine outside any job. It is a
// net.Error.
var ErrWouldBlock net.Error = tlsio.ErrWouldBlock
