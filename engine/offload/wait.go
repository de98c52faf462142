package offload

import (
	"context"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// do has call called by a worker. It waits for the result: by pausing the job
// that ctx carries, or else by blocking.
func (e *Engine) do(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	op := &operation{engine: e, call: call, done: make(chan struct{})}
	var out outcome
	if j, ok := jobs.FromContext(ctx); !ok {
		if err := e.submit(op); err != nil {
			return nil, err
		}
		<-op.done
		out = op.out
	} else {
		if j.Canceled() { // do not begin what nobody will wait for
			return nil, jobs.ErrCanceled
		}
		w := j.WaitCtx()
		if err := op.waker.arm(e.cfg.Wake, w, op); err != nil {
			return nil, err
		}
		defer op.waker.disarm(w, op)
		if err := e.submit(op); err != nil {
			op.waker.wake() // a callback that was taken must be called
			return nil, err
		}
		out = op.pause(j, w)
	}
	if f := e.cfg.OnOperation; f != nil {
		f(Operation{Waited: op.waited, Took: op.took, Err: out.err})
	}
	return out.result, out.err
}

// pause pauses j, in which it is called, until op's outcome is there.
func (op *operation) pause(j jobs.Job, w *waitctx.WaitCtx) outcome {
	err := jobs.ErrCanceled // if Pause ends the job with runtime.Goexit
	defer func() {
		if err != nil {
			op.engine.abandon(op, err)
		}
	}()
	for {
		select {
		case <-op.done:
			err = nil
			return op.out
		default:
		}
		if refused := j.Pause(); refused != nil {
			err = refused
			return outcome{err: err}
		}
		if j.PauseBlocked() {
			<-op.done
			continue
		}
		op.waker.rearm(w)
	}
}
