package offload

import (
	"fmt"
	"time"
)

// operation is one call of a signer. The Engine's mu guards all fields except
// engine, call, done and waker.
type operation struct {
	engine *Engine
	call   func() ([]byte, error) // shares nothing with the caller, whose wait it may outlive

	state      opState
	timer      *time.Timer
	queuedAt   time.Time
	startedAt  time.Time
	prev, next *operation // in the queue

	// What the caller gets. Not written any more once done is closed.
	out    outcome
	waited time.Duration
	took   time.Duration

	done  chan struct{} // closed when the caller's wait is over
	waker waker
}

// outcome is the result of an operation.
type outcome struct {
	result []byte
	err    error
}

// opState is the state of an operation.
//
//	queued → running → over           the signer returned in time
//	queued → over                     timeout, caller gone, or Close
//	running → canceled → over         the caller has gone, the signer continues
//	running, canceled → stuck → over  the signer did not return in time
//
// The caller's wait ends when the operation leaves queued (other than to running)
// or running.
type opState uint8

const (
	opQueued opState = iota
	opRunning
	opCanceled
	opStuck
	opOver
)

// queue is a first-in, first-out list of operations.
type queue struct {
	head, tail *operation
	n          int
}

func (q *queue) push(op *operation) {
	op.prev = q.tail
	if q.tail == nil {
		q.head = op
	} else {
		q.tail.next = op
	}
	q.tail = op
	q.n++
}

// pop removes and returns the first operation, or returns nil if there is none.
func (q *queue) pop() *operation {
	op := q.head
	if op != nil {
		q.remove(op)
	}
	return op
}

func (q *queue) remove(op *operation) {
	if op.prev == nil {
		q.head = op.next
	} else {
		op.prev.next = op.next
	}
	if op.next == nil {
		q.tail = op.prev
	} else {
		op.next.prev = op.prev
	}
	op.prev, op.next = nil, nil
	q.n--
}

// submit gives op to a worker, or queues it.
func (e *Engine) submit(op *operation) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	op.queuedAt = time.Now()
	if e.cfg.Timeout > 0 {
		op.timer = time.AfterFunc(e.cfg.Timeout, op.expire)
	}
	e.queue.push(op)
	e.startWorkers()
	return nil
}

// settle records op's outcome for the caller, and counts it in kind if that is not
// nil. It must be called with mu held. deliver must be called after it, without
// mu, unless the caller no longer waits.
func (e *Engine) settle(op *operation, out outcome, kind *uint64) {
	now := time.Now()
	if op.state == opQueued {
		op.waited = now.Sub(op.queuedAt)
	} else {
		op.took = now.Sub(op.startedAt)
	}
	op.out = out
	op.state = opOver
	e.stats.Operations++
	if kind != nil {
		*kind++
	}
}

// deliver wakes the caller.
func (op *operation) deliver() {
	if op.timer != nil {
		op.timer.Stop() // if expire is already running, it will find the operation over
	}
	close(op.done)
	op.waker.wake()
}

// expire is called by op's timer.
func (op *operation) expire() {
	e := op.engine
	e.mu.Lock()
	waiting := op.state == opQueued || op.state == opRunning
	switch op.state {
	case opQueued:
		e.queue.remove(op)
		e.settle(op, outcome{err: e.timeoutInQueue()}, &e.stats.Timeouts)
	case opRunning, opCanceled:
		if waiting {
			err := fmt.Errorf("%w after %v, in the signer", ErrTimeout, e.cfg.Timeout)
			e.settle(op, outcome{err: err}, &e.stats.Timeouts)
		}
		op.state = opStuck
		e.stuck++
		e.left()
		e.startWorkers()
	}
	e.mu.Unlock()
	if waiting {
		op.deliver()
	}
}

// timeoutInQueue returns the error of an operation that timed out in the queue.
func (e *Engine) timeoutInQueue() error {
	if e.slots() <= 0 {
		return fmt.Errorf("%w after %v: %w: %d, of which %d were replaced",
			ErrTimeout, e.cfg.Timeout, ErrStuck, e.stuck, e.cfg.MaxStuck)
	}
	return fmt.Errorf("%w after %v, waiting for a worker", ErrTimeout, e.cfg.Timeout)
}

// abandon takes back op because its caller no longer waits, due to err. A result
// of the signer will be dropped. It returns false if op already has its outcome;
// done is then closed, or just about to be.
func (e *Engine) abandon(op *operation, err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch op.state {
	case opQueued:
		e.queue.remove(op)
		e.settle(op, outcome{err: err}, &e.stats.Canceled)
		if op.timer != nil {
			op.timer.Stop()
		}
	case opRunning:
		e.settle(op, outcome{err: err}, &e.stats.Canceled)
		op.state = opCanceled // its timer still detects a stuck worker
	default:
		return false
	}
	return true
}
