package waitctx

// Status is the status of an engine's request. (OpenSSL: the ASYNC_STATUS values,
// which are the same.)
type Status int

const (
	// StatusUnsupported means that the code in the job has not set a status. It is
	// the status of a new WaitCtx.
	StatusUnsupported Status = iota
	// StatusErr means that the request failed.
	StatusErr
	// StatusOK means that the request was submitted, and the callback will be called.
	StatusOK
	// StatusEAgain means that the engine was busy and nothing was submitted. The job
	// has to be resumed after a while to try again.
	StatusEAgain
)

var statusNames = [...]string{"unsupported", "error", "ok", "try again"}

func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "invalid status"
	}
	return statusNames[s]
}

// SetCallback stores the function that wakes the job, and its argument. The code
// that runs the job sets it. A nil fn removes it. (OpenSSL:
// ASYNC_WAIT_CTX_set_callback.)
func (w *WaitCtx) SetCallback(fn func(arg any) error, arg any) {
	w.callback, w.arg, w.taken = fn, arg, false
}

// Callback returns the function that wakes the job. The code inside the job
// arranges for fn(arg) to be called when what it waits for has happened. Code that
// takes the callback must see that it is called, or the job may never be resumed.
// ok is false if no callback is set. (OpenSSL: ASYNC_WAIT_CTX_get_callback.)
func (w *WaitCtx) Callback() (fn func(arg any) error, arg any, ok bool) {
	if w.callback == nil {
		return nil, nil, false
	}
	w.taken = true
	return w.callback, w.arg, true
}

// CallbackTaken reports whether Callback has returned the function since
// SetCallback stored it. It tells the code that runs the job whether a paused job
// without descriptors expects a call or has to be polled.
func (w *WaitCtx) CallbackTaken() bool { return w.taken }

// SetStatus stores the status of the request. (OpenSSL:
// ASYNC_WAIT_CTX_set_status.)
func (w *WaitCtx) SetStatus(s Status) { w.status = s }

// Status returns the status stored by SetStatus, or StatusUnsupported if none was.
// (OpenSSL: ASYNC_WAIT_CTX_get_status.)
func (w *WaitCtx) Status() Status { return w.status }
