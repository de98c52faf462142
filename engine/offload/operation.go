package offload

import (
	"fmt"
	"time"
)

// operation is one call of a signer. Its fields but call, done and waker are
// guarded by the Engine's mu.
type operation struct {
	engine *Engine
	call   func() ([]byte, error) // owns all it needs: it may outlive the caller's wait

	state      opState
	timer      *time.Timer
	queuedAt   time.Time
	startedAt  time.Time
	prev, next *operation // in the queue

	// What the caller gets; not written again once done is closed.
	out    outcome
	waited time.Duration
	took   time.Duration

	done  chan struct{} // closed when the caller's wait is over
	waker waker
}

// outcome is what an operation ends with.
type outcome struct {
	result []byte
	err    error
}

// opState is where an operation stands.
//
//	queued → running → over           the signer has returned in time
//	queued → over                     timeout, caller has gone, Close
//	running → canceled → over         the caller has gone; the signer goes on
//	running, canceled → stuck → over  the signer did not return in time
//
// The caller's wait ends as the operation leaves queued or running.
type opState uint8

const (
	opQueued opState = iota
	opRunning
	opCanceled
	opStuck
	opOver
)

// queue is a list of operations, first come, first served.
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

// pop returns the first one, nil if there is none.
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

// settle ends the caller's wait for op, and counts it in kind if that is not
// nil. It is called with mu held, and deliver after it without.
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
		op.timer.Stop() // it may be running, and will find the operation over
	}
	close(op.done)
	op.waker.wake()
}

// expire is what op's timer calls.
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

// timeoutInQueue is the error of an operation that no worker has taken up.
func (e *Engine) timeoutInQueue() error {
	if e.slots() <= 0 {
		return fmt.Errorf("%w after %v: %w: %d, of which %d were replaced",
			ErrTimeout, e.cfg.Timeout, ErrStuck, e.stuck, e.cfg.MaxStuck)
	}
	return fmt.Errorf("%w after %v, waiting for a worker", ErrTimeout, e.cfg.Timeout)
}

// abandon takes op back when its caller waits no more, because of err. What
// the signer returns will be dropped. It returns false if op has its outcome
// already, or just gets it.
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
		op.state = opCanceled // its timer still tells whether the worker is stuck
	default:
		return false
	}
	return true
}
