package waitctx

// Status says how far an engine's request has come (OpenSSL: the
// ASYNC_STATUS values, which these equal).
type Status int

const (
	// StatusUnsupported: the code in the job says nothing of callbacks. This is
	// the value of a new WaitCtx.
	StatusUnsupported Status = iota
	// StatusErr: the request failed.
	StatusErr
	// StatusOK: the request was submitted; the callback will be called.
	StatusOK
	// StatusEAgain: the engine was busy and nothing was submitted. The job is
	// to be resumed after a while, to try again.
	StatusEAgain
)

var statusNames = [...]string{"unsupported", "error", "ok", "try again"}

func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "invalid status"
	}
	return statusNames[s]
}

// SetCallback stores the function that wakes the job, and its argument. The
// owner of the job sets it; a nil fn removes it. (OpenSSL:
// ASYNC_WAIT_CTX_set_callback.)
func (w *WaitCtx) SetCallback(fn func(arg any) error, arg any) {
	w.callback, w.arg, w.taken = fn, arg, false
}

// Callback returns the function that wakes the job, for the code inside the
// job to call as fn(arg) when what it waits for has happened. Whoever takes it
// calls it, or the job may not be resumed. ok is false if none is set.
// (OpenSSL: ASYNC_WAIT_CTX_get_callback.)
func (w *WaitCtx) Callback() (fn func(arg any) error, arg any, ok bool) {
	if w.callback == nil {
		return nil, nil, false
	}
	w.taken = true
	return w.callback, w.arg, true
}

// CallbackTaken reports whether Callback has returned the function since
// SetCallback stored it. Whoever runs the job can tell from it whether a paused
// job without descriptors expects a call, or has to be polled.
func (w *WaitCtx) CallbackTaken() bool { return w.taken }

// SetStatus stores the status of the request. (OpenSSL:
// ASYNC_WAIT_CTX_set_status.)
func (w *WaitCtx) SetStatus(s Status) { w.status = s }

// Status returns what SetStatus stored, StatusUnsupported before that.
// (OpenSSL: ASYNC_WAIT_CTX_get_status.)
func (w *WaitCtx) Status() Status { return w.status }
