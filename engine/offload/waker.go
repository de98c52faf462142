package offload

import (
	"fmt"
	"sync"

	"github.com/jobloop/jobloop/waitctx"
)

// waker wakes a paused job, from any goroutine, through the callback in the job's
// wait context or through a descriptor. The job arms, rearms and disarms it.
type waker struct {
	mu    sync.Mutex // also held while writing to fd, so that it is not closed meanwhile
	fn    func(arg any) error
	arg   any
	fd    wakeFD
	hasFD bool // fd is open
	woken bool

	status waitctx.Status // of the WaitCtx before the callback was taken
}

// arm prepares the job to be woken. key identifies the descriptor.
func (k *waker) arm(mode WakeMode, w *waitctx.WaitCtx, key any) error {
	if mode == WakeCallback {
		var ok bool
		if k.fn, k.arg, ok = w.Callback(); ok {
			k.status = w.Status()
			w.SetStatus(waitctx.StatusOK) // the callback will be called, so the job need not be polled
			return nil
		}
	}
	fd, err := newWakeFD()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoWake, err)
	}
	k.fd, k.hasFD = fd, true
	cleanup := func(*waitctx.WaitCtx, any, int, any) { k.closeFD() }
	if err := w.SetWaitFD(key, fd.readable(), nil, cleanup); err != nil {
		k.closeFD()
		return fmt.Errorf("%w: %w", ErrNoWake, err)
	}
	return nil
}

// rearm is called when the job has been resumed and may pause again. It takes the
// callback again, so that the loop expects a call; the loop may also have set
// another callback meanwhile. A callback that is taken must be called, so rearm
// takes none after wake has run.
func (k *waker) rearm(w *waitctx.WaitCtx) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hasFD || k.woken {
		return
	}
	if fn, arg, ok := w.Callback(); ok {
		k.fn, k.arg = fn, arg
	}
}

// disarm is called when the job no longer waits. The callback may still be called
// after that, which is a spurious resume for whatever the job waits for by then.
func (k *waker) disarm(w *waitctx.WaitCtx, key any) {
	if !k.hasFD {
		w.SetStatus(k.status)
		return
	}
	w.ClearFD(key)
	k.closeFD()
}

// wake wakes the job.
func (k *waker) wake() {
	k.mu.Lock()
	k.woken = true
	if k.hasFD {
		k.fd.write()
	}
	fn, arg := k.fn, k.arg
	k.mu.Unlock()
	if fn != nil {
		fn(arg) // an error would mean that the reactor and its jobs have ended
	}
}

// wakeOnce wakes the job unless wake has been called already.
func (k *waker) wakeOnce() {
	k.mu.Lock()
	woken := k.woken
	k.mu.Unlock()
	if !woken {
		k.wake()
	}
}

// closeFD closes the descriptor if it is open.
func (k *waker) closeFD() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hasFD {
		k.hasFD = false
		k.fd.close()
	}
}
