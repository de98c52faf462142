package offload

import (
	"fmt"
	"sync"

	"github.com/jobloop/jobloop/waitctx"
)

// waker wakes a paused job, from any goroutine, by the callback in its wait
// context or by a descriptor. The job arms, rearms and disarms it.
type waker struct {
	mu    sync.Mutex // also held to write to fd, so that it is not closed meanwhile
	fn    func(arg any) error
	arg   any
	fd    wakeFD
	hasFD bool // fd is open
	woken bool

	status waitctx.Status // the WaitCtx's before a callback was taken
}

// arm prepares the job for being woken. key identifies the descriptor.
func (k *waker) arm(mode WakeMode, w *waitctx.WaitCtx, key any) error {
	if mode == WakeCallback {
		var ok bool
		if k.fn, k.arg, ok = w.Callback(); ok {
			k.status = w.Status()
			w.SetStatus(waitctx.StatusOK) // the callback will be called: there is no need to poll
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

// rearm is called when the job has been resumed and may pause again. A callback
// that is to be expected has to be taken once more, and whoever runs the job
// may have set another meanwhile. One that is taken must also be called: so
// none is when wake has been here already.
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

// disarm is called when the job waits no more. The callback may still come: a
// spurious resume for whatever the job waits for then.
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
		fn(arg) // an error says that the reactor has ended, and its jobs with it
	}
}

// wakeOnce wakes the job if nobody has yet.
func (k *waker) wakeOnce() {
	k.mu.Lock()
	woken := k.woken
	k.mu.Unlock()
	if !woken {
		k.wake()
	}
}

// closeFD closes the descriptor, once.
func (k *waker) closeFD() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hasFD {
		k.hasFD = false
		k.fd.close()
	}
}
