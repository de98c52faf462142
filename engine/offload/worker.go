package offload

import (
	"runtime/debug"
	"time"
)

// slots returns how many workers there may be besides those that are stuck.
func (e *Engine) slots() int {
	return e.cfg.Workers - max(0, e.stuck-e.cfg.MaxStuck)
}

// take returns the next operation for a worker. It returns nil if there is none, or
// if enough workers are busy. It must be called with mu held.
func (e *Engine) take() *operation {
	if e.busy >= e.slots() {
		return nil
	}
	op := e.queue.pop()
	if op == nil {
		return nil
	}
	e.busy++
	op.state = opRunning
	op.startedAt = time.Now()
	op.waited = op.startedAt.Sub(op.queuedAt)
	return op
}

// startWorkers starts a worker for each operation that may start. It must be called
// with mu held.
func (e *Engine) startWorkers() {
	for op := e.take(); op != nil; op = e.take() {
		go e.work(op)
	}
}

// left records that a worker is not busy any more. It must be called with mu held.
func (e *Engine) left() {
	e.busy--
	if e.closed && e.busy == 0 { // no worker starts after Close
		close(e.quiet)
	}
}

// work is a worker. It does op, then further operations until there are none.
func (e *Engine) work(op *operation) {
	for op != nil {
		op = e.perform(op)
	}
}

// perform calls op's signer, and returns the next operation to do.
func (e *Engine) perform(op *operation) (next *operation) {
	var out outcome
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			out = outcome{err: &PanicError{Value: v, Stack: debug.Stack()}}
			next = e.performed(op, out, &e.stats.Panics)
			return
		}
		// runtime.Goexit ends this goroutine, so another has to go on.
		out = outcome{err: ErrGoexit}
		if next := e.performed(op, out, &e.stats.Panics); next != nil {
			go e.work(next)
		}
	}()
	out.result, out.err = op.call()
	returned = true
	if out.err != nil {
		return e.performed(op, out, &e.stats.Errors)
	}
	return e.performed(op, out, nil)
}

// performed hands over the signer's result, and returns the next operation to do.
func (e *Engine) performed(op *operation, out outcome, kind *uint64) (next *operation) {
	e.mu.Lock()
	waiting := op.state == opRunning
	if waiting {
		e.settle(op, out, kind)
	} else {
		e.stats.Dropped++
	}
	if op.state == opStuck {
		e.stuck--
	} else {
		e.left()
	}
	op.state = opOver
	next = e.take()
	e.mu.Unlock()
	if waiting {
		op.deliver()
	} else if op.timer != nil {
		op.timer.Stop()
	}
	return next
}
