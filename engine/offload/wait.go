package offload

import (
	"context"
	"fmt"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// do lets a worker run call. It waits for the result, or for the end of ctx. If
// the caller is inside the job that ctx carries, it pauses that job; otherwise it
// blocks.
func (e *Engine) do(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil { // nobody would wait for the result
		return nil, givenUp(err)
	}
	op := &operation{engine: e, call: call, done: make(chan struct{})}
	var out outcome
	if j, ok := jobs.FromContext(ctx); !ok {
		if err := e.submit(op); err != nil {
			return nil, err
		}
		out = op.block(ctx)
	} else {
		if j.Canceled() {
			return nil, jobs.ErrCanceled
		}
		w := j.WaitCtx()
		if err := op.waker.arm(e.cfg.Wake, w, op); err != nil {
			return nil, err
		}
		defer op.waker.disarm(w, op)
		if err := e.submit(op); err != nil {
			op.waker.wakeOnce() // a callback that has been taken must be called
			return nil, err
		}
		out = op.pause(ctx, j, w)
	}
	if f := e.cfg.OnOperation; f != nil {
		f(Operation{Waited: op.waited, Took: op.took, Err: out.err})
	}
	return out.result, out.err
}

// givenUp returns the error of an operation whose context has ended.
func givenUp(err error) error { return fmt.Errorf("offload: operation given up: %w", err) }

// block waits for op's outcome, or the end of ctx. It does not touch any job, so it
// may be called on any goroutine.
func (op *operation) block(ctx context.Context) outcome {
	select {
	case <-op.done:
		return op.out
	case <-ctx.Done():
		return op.giveUp(ctx)
	}
}

// giveUp ends the wait for op because ctx has ended. If op already has an outcome,
// it returns that.
func (op *operation) giveUp(ctx context.Context) outcome {
	out := outcome{err: givenUp(ctx.Err())}
	if op.engine.abandon(op, out.err) {
		return out
	}
	<-op.done // does not block for long
	return op.out
}

// pause pauses j, which is the caller's job, until op has its outcome or ctx has
// ended.
func (op *operation) pause(ctx context.Context, j jobs.Job, w *waitctx.WaitCtx) outcome {
	err := jobs.ErrCanceled // for the case that Pause ends the job with runtime.Goexit
	defer func() {
		if err != nil {
			op.engine.abandon(op, err)
		}
	}()
	watching := false
	for {
		select {
		case <-op.done:
			err = nil
			return op.out
		default:
		}
		if ctx.Err() != nil {
			err = nil
			defer op.waker.wakeOnce() // a callback that has been taken must be called
			return op.giveUp(ctx)
		}
		// Only contexts that can end cost this. The loop's contexts cannot end.
		if !watching && ctx.Done() != nil {
			stop := context.AfterFunc(ctx, op.waker.wake)
			defer stop()
		}
		watching = true
		if refused := j.Pause(); refused != nil {
			err = refused
			return outcome{err: err}
		}
		if j.PauseBlocked() {
			select {
			case <-op.done:
			case <-ctx.Done():
			}
			continue
		}
		op.waker.rearm(w)
	}
}
