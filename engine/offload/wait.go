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
	for {
		select {
		case <-op.done:
			return op.out
		default:
		}
		if err := j.Pause(); err != nil {
			op.engine.abandon(op, err)
			return outcome{err: err}
		}
		if j.PauseBlocked() {
			<-op.done
			return op.out
		}
		op.waker.rearm(w)
	}
}
