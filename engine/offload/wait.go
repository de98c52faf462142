package offload

import (
	"context"
	"fmt"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// do has call called by a worker. It waits for the result, or for the end of
// ctx: by pausing the job that ctx carries, or, if the caller is not inside it,
// by blocking.
func (e *Engine) do(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil { // do not begin what nobody will wait for
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
			op.waker.wakeOnce() // a callback that was taken must be called
			return nil, err
		}
		out = op.pause(ctx, j, w)
	}
	if f := e.cfg.OnOperation; f != nil {
		f(Operation{Waited: op.waited, Took: op.took, Err: out.err})
	}
	return out.result, out.err
}

// givenUp is the error of an operation whose context has ended.
func givenUp(err error) error { return fmt.Errorf("offload: operation given up: %w", err) }

// block waits for op's outcome, or the end of ctx, without touching any job: its
// caller may be on any goroutine.
func (op *operation) block(ctx context.Context) outcome {
	select {
	case <-op.done:
		return op.out
	case <-ctx.Done():
		return op.giveUp(ctx)
	}
}

// giveUp ends the wait for op because ctx has ended. An outcome that was there
// first counts.
func (op *operation) giveUp(ctx context.Context) outcome {
	out := outcome{err: givenUp(ctx.Err())}
	if op.engine.abandon(op, out.err) {
		return out
	}
	<-op.done // at once
	return op.out
}

// pause pauses j, in which it is called, until op's outcome is there or ctx has
// ended.
func (op *operation) pause(ctx context.Context, j jobs.Job, w *waitctx.WaitCtx) outcome {
	err := jobs.ErrCanceled // if Pause ends the job with runtime.Goexit
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
			defer op.waker.wakeOnce() // a callback that was taken must be called
			return op.giveUp(ctx)
		}
		// Only for contexts that can end: those of jobs cannot, and cost nothing.
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
