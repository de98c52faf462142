// Package offload hands private-key operations that block to worker goroutines,
// and pauses the jobs that wait for them. It turns any crypto.Signer into an
// [engine.Key]: a key in a PKCS#11 token, in a cloud key service or on your own key
// server, or an ordinary key whose work other cores should do.
//
//	offloader, err := offload.New(offload.Config{})
//	...
//	key, err := offloader.Key(signer)
//	...
//	cert := tls.Certificate{Certificate: chain, PrivateKey: key}
//	config := &tls.Config{GetCertificate: engine.GetCertificate(
//		func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })}
//
// # Limits
//
// At most Config.Workers operations are in signers at a time. The others wait in a
// queue, first come, first served. Each belongs to a paused job or a blocked
// goroutine. So the queue is never longer than the number of jobs
// (loop.Config.MaxJobs) and of blocked callers. Config.Timeout bounds each
// operation. An operation whose job is cancelled, or whose context ends, leaves
// the queue at once.
//
// A signer cannot be interrupted. If it has not returned by its operation's
// timeout, only that operation fails. Its worker then counts as stuck and is
// replaced by another, up to Config.MaxStuck times. When the signer returns after
// all, its result is dropped and the worker can be used again.
//
// Workers are goroutines that exist only while they have something to do. An idle
// Engine holds no resources and need not be closed.
//
// # Goroutines
//
// A server with a goroutine for each connection can use such a key in tls.Config's
// Certificates: Sign then blocks its goroutine. What it gains is the limits: at most
// Config.Workers operations at a time, however many handshakes there are, and an
// error after Config.Timeout instead of a goroutine that waits for ever.
//
// # How many workers
//
// For a key whose operations wait for a token or a network, set Workers to the
// number of operations that the other side can do at once. For a key that computes
// in this process, set it to the number of cores you can spare. With GOMAXPROCS
// workers, the loop has to compete for a core like any other goroutine.
package offload

import (
	"fmt"
	"sync"
	"time"
)

// Config configures an Engine. The zero value suits keys whose operations wait for
// something other than this computer's processor.
type Config struct {
	// Workers is how many operations may be in signers at a time; 0 means 16.
	Workers int

	// Timeout bounds each operation, including the wait for a worker. 0 means 10
	// seconds; negative means no limit.
	Timeout time.Duration

	// MaxStuck is how many stuck workers are replaced. A worker is stuck if its
	// signer has not returned within Timeout. 0 means as many as Workers; negative
	// means none. There are never more than Workers plus MaxStuck goroutines.
	//
	// If more workers are stuck, fewer than Workers are left. If none is left, every
	// operation ends with ErrStuck at its timeout, until a signer returns.
	MaxStuck int

	// Wake says how a paused job is woken.
	Wake WakeMode

	// OnOperation, if not nil, is called for each operation that Stats counts, after
	// it has ended. It is called on the goroutine that asked for the operation,
	// inside the job if there is one, and must not block.
	OnOperation func(Operation)
}

// Operation describes an operation that has ended.
type Operation struct {
	// Waited is how long the operation was queued.
	Waited time.Duration
	// Took is the time from the call of the signer until it returned or the
	// caller's wait ended. It is 0 if the signer was not called.
	Took time.Duration
	// Err is the error that the caller gets.
	Err error
}

// WakeMode is a way to wake a paused job.
type WakeMode int

const (
	// WakeCallback calls the callback in the job's wait context (see
	// waitctx.WaitCtx.Callback), from any goroutine. With package loop it is the
	// cheaper way. For a job without a callback, WakeFD is used.
	WakeCallback WakeMode = iota
	// WakeFD registers a descriptor in the job's wait context that becomes readable,
	// so any reactor can poll it. Each operation has its own, which is closed with
	// the operation. It is an eventfd on Linux and a pipe elsewhere.
	WakeFD
)

// Engine has a queue of operations, and workers that do them. It is made by New.
// Its methods may be called from any goroutine.
type Engine struct {
	cfg Config

	mu     sync.Mutex // held for bookkeeping only, never while calling foreign code
	queue  queue
	busy   int // workers in a signer, except those that are stuck
	stuck  int
	closed bool
	quiet  chan struct{} // made by Close; closed when busy is 0
	stats  Stats
}

// New returns an Engine. Its error is ErrInvalidConfig, with the name of the
// field.
func New(cfg Config) (*Engine, error) {
	switch {
	case cfg.Workers < 0:
		return nil, fmt.Errorf("%w: Workers is %d", ErrInvalidConfig, cfg.Workers)
	case cfg.Wake != WakeCallback && cfg.Wake != WakeFD:
		return nil, fmt.Errorf("%w: Wake is %d", ErrInvalidConfig, cfg.Wake)
	case cfg.Wake == WakeFD && !haveWakeFD:
		return nil, fmt.Errorf("%w: Wake is WakeFD, for which this system has no descriptors", ErrInvalidConfig)
	}
	if cfg.Workers == 0 {
		cfg.Workers = 16
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	switch {
	case cfg.MaxStuck == 0:
		cfg.MaxStuck = cfg.Workers
	case cfg.MaxStuck < 0:
		cfg.MaxStuck = 0
	}
	return &Engine{cfg: cfg}, nil
}

const defaultTimeout = 10 * time.Second

// Close ends the queued operations, and all later ones, with ErrClosed. It waits
// for the operations in progress until they return or time out, or for at most 10
// seconds if Config.Timeout is negative. When it returns nil, no signer is in use
// any more, so it is safe to log out of a token. If some signers have still not
// returned, it returns ErrStuck with their number.
//
// Close blocks, so it must not be called on a loop's goroutine. A second Close
// does the same.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	var dropped []*operation
	for op := e.queue.pop(); op != nil; op = e.queue.pop() {
		e.settle(op, outcome{err: ErrClosed}, &e.stats.Errors)
		dropped = append(dropped, op)
	}
	if e.quiet == nil {
		e.quiet = make(chan struct{})
		if e.busy == 0 {
			close(e.quiet)
		}
	}
	e.mu.Unlock()
	for _, op := range dropped {
		op.deliver()
	}

	var giveUp <-chan time.Time
	if e.cfg.Timeout < 0 { // otherwise the operations' own timers end the wait
		giveUp = time.After(defaultTimeout)
	}
	select {
	case <-e.quiet:
	case <-giveUp:
	}
	e.mu.Lock()
	left := e.busy + e.stuck
	e.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("%w: %d still in their signers", ErrStuck, left)
	}
	return nil
}

// Stats counts what an Engine does. Every operation is counted once in Operations
// when it ends. If it has not succeeded, it is also counted in one of Errors,
// Timeouts, Canceled and Panics. An operation that was refused at once (ErrClosed,
// ErrNoWake, a context that had ended) is not counted.
type Stats struct {
	Operations uint64 // signatures and decryptions that have ended
	Errors     uint64 // ended with an error of the signer, or ErrClosed while queued
	Timeouts   uint64 // ended with ErrTimeout
	Canceled   uint64 // their job was cancelled, or their context ended
	Panics     uint64 // the signer panicked, or called runtime.Goexit
	Dropped    uint64 // results that came when nobody waited for them any more

	Queued  int // now: operations that wait for a worker
	Running int // now: workers in a signer, except those that are stuck
	Stuck   int // now: workers whose signer did not return in time
}

// Stats returns the current counts.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Queued, s.Running, s.Stuck = e.queue.n, e.busy, e.stuck
	return s
}
