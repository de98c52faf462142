// Package offload gives private-key operations that block to worker goroutines,
// and pauses the jobs that wait for them. It makes an [engine.Key] of any
// crypto.Signer: a key in a PKCS#11 token, in a cloud's key service, on a key
// server of one's own, or a plain one whose work other cores are to do.
//
//	offloader, err := offload.New(offload.Config{})
//	...
//	key, err := offloader.Key(signer)
//	...
//	cert := tls.Certificate{Certificate: chain, PrivateKey: key}
//	config := &tls.Config{GetCertificate: engine.GetCertificate(
//		func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })}
//
// # What bounds it
//
// At most Config.Workers operations are in the signer at a time. The others
// wait their turn, first come, first served. Whoever waits is a paused job or a
// blocked goroutine, each with one operation: so the queue is never longer than
// the pools have jobs (loop.Config.MaxJobs) and the program blocked callers.
// Config.Timeout bounds each wait. An operation whose job is cancelled, or whose
// context ends, leaves the queue at once.
//
// A signer cannot be interrupted. One that has not returned when its
// operation's time is over costs that operation only: its worker counts as
// stuck, and another takes its place, up to Config.MaxStuck times. When the
// signer returns after all, its result is dropped and the worker is of use
// again.
//
// Workers are goroutines that exist while they have something to do. An idle
// Engine holds nothing, and need not be closed.
//
// # Keys that compute
//
// For a key whose operations wait (for a token, for a network), Workers is how
// many of them the other side can do at once. For a key that computes in this
// process it is the number of cores to spare: with as many workers as
// GOMAXPROCS says, the loop has to wait for its turn like any other goroutine.
package offload

import (
	"fmt"
	"sync"
	"time"
)

// Config configures an Engine. The zero value is good for keys that wait for
// something else than this computer's processor.
type Config struct {
	// Workers is how many operations may be in the signers at a time, 0 for 16.
	Workers int

	// Timeout bounds each operation, waiting for a worker included: 0 for 10
	// seconds, negative for no bound.
	Timeout time.Duration

	// MaxStuck is how many workers that did not come back within Timeout are
	// replaced: 0 for as many as Workers, negative for none. So the most
	// goroutines at a time are Workers and MaxStuck together. When more are
	// stuck there are fewer workers than Workers; when there are none, every
	// operation ends with ErrStuck at its timeout, until a signer returns.
	MaxStuck int

	// Wake says how a paused job is woken.
	Wake WakeMode

	// OnOperation, if not nil, is told of each operation that Stats counts, when
	// it has ended. It is called by the goroutine that has asked for the
	// operation, inside the job if there is one, and must not block.
	OnOperation func(Operation)
}

// Operation describes an operation that has ended.
type Operation struct {
	// Waited is how long it was queued.
	Waited time.Duration
	// Took is how long the signer took, or was waited for; 0 if it was not
	// called.
	Took time.Duration
	// Err is what the caller gets.
	Err error
}

// WakeMode is a way to wake a paused job.
type WakeMode int

const (
	// WakeCallback calls the callback in the job's wait context (see
	// waitctx.WaitCtx.Callback), from any goroutine. With package loop it is
	// the cheaper way. To a job without a callback, WakeFD is what happens.
	WakeCallback WakeMode = iota
	// WakeFD registers a descriptor in the job's wait context, which becomes
	// readable: any reactor can poll it. It is an eventfd on Linux and a pipe
	// elsewhere, one for each operation, and closed with it.
	WakeFD
)

// Engine has workers, and a queue of operations for them. It is made by New.
// Its methods are for any goroutine.
type Engine struct {
	cfg Config

	mu     sync.Mutex // held for bookkeeping only, never over a call of others' code
	queue  queue
	busy   int // workers in a signer, but for those that are stuck
	stuck  int
	closed bool
	quiet  chan struct{} // made by Close; closed when busy is 0
	stats  Stats
}

// New returns an Engine. Its error is ErrInvalidConfig, with the field's name.
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

// Close ends the queued operations with ErrClosed, as all later ones, and waits
// until those under way have ended, normally or by their timeout (10 seconds at
// most if Config.Timeout is negative). So when it returns nil no signer is in
// use any more, and a token can be logged out of. If signers have not returned
// even so, it says how many, with ErrStuck.
//
// It blocks, and is not for a loop's goroutine. A second Close does the same.
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
	if e.cfg.Timeout < 0 { // otherwise the operations' own timers end this
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

// Stats counts what an Engine does. Every operation is counted once in
// Operations when it ends, and also in one of Errors to Panics unless it has
// succeeded. One that was refused at once (ErrClosed, ErrNoWake, a context that
// had ended) is not counted.
type Stats struct {
	Operations uint64 // signatures and decryptions that have ended
	Errors     uint64 // ended in an error of the signer, or ErrClosed
	Timeouts   uint64 // ended in ErrTimeout
	Canceled   uint64 // their job was cancelled, or their context ended
	Panics     uint64 // the signer panicked, or called runtime.Goexit
	Dropped    uint64 // results that came when nobody waited for them any more

	Queued  int // of the moment: operations that wait for a worker
	Running int // of the moment: workers in a signer, but for those that are stuck
	Stuck   int // of the moment: workers whose signer did not return in time
}

// Stats returns the counts.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Queued, s.Running, s.Stuck = e.queue.n, e.busy, e.stuck
	return s
}
