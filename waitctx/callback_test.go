package waitctx_test

import (
	"errors"
	"testing"

	"github.com/jobloop/jobloop/waitctx"
)

func TestCallback(t *testing.T) {
	errWake := errors.New("cannot wake")
	var woken any
	wake := func(arg any) error {
		woken = arg
		return errWake
	}

	w := waitctx.New()
	if fn, arg, ok := w.Callback(); fn != nil || arg != nil || ok {
		t.Errorf("Callback before SetCallback = %t, %v, %t, want nothing", fn != nil, arg, ok)
	}
	w.SetCallback(wake, "job 7")
	fn, arg, ok := w.Callback()
	if !ok || arg != "job 7" {
		t.Fatalf("Callback = _, %v, %t, want job 7, true", arg, ok)
	}
	if err := fn(arg); err != errWake || woken != "job 7" {
		t.Errorf("the callback woke %v with error %v, want job 7 and %v", woken, err, errWake)
	}

	w.SetCallback(nil, "left over")
	if fn, arg, ok := w.Callback(); fn != nil || arg != nil || ok {
		t.Errorf("Callback after SetCallback(nil) = %t, %v, %t, want nothing", fn != nil, arg, ok)
	}
}

func TestCallbackTaken(t *testing.T) {
	wake := func(any) error { return nil }
	w := waitctx.New()
	want := func(when string, want bool) {
		t.Helper()
		if got := w.CallbackTaken(); got != want {
			t.Errorf("%s: CallbackTaken = %t, want %t", when, got, want)
		}
	}
	want("new", false)
	w.Callback()
	want("asked for, but not set", false)
	w.SetCallback(wake, nil)
	want("set", false)
	w.Callback()
	want("taken", true)
	w.ResetChanges()
	want("taken, and resumed", true)
	w.SetCallback(wake, nil)
	want("set again", false)
	w.Callback()
	w.SetCallback(nil, nil)
	want("removed", false)
}

func TestStatus(t *testing.T) {
	// The numbers are OpenSSL's ASYNC_STATUS values, from openssl/async.h.
	tests := []struct {
		status waitctx.Status
		number int
		text   string
	}{
		{waitctx.StatusUnsupported, 0, "unsupported"},
		{waitctx.StatusErr, 1, "error"},
		{waitctx.StatusOK, 2, "ok"},
		{waitctx.StatusEAgain, 3, "try again"},
		{waitctx.Status(4), 4, "invalid status"},
		{waitctx.Status(-1), -1, "invalid status"},
	}
	w := waitctx.New()
	if got := w.Status(); got != waitctx.StatusUnsupported {
		t.Errorf("a new WaitCtx has status %v", got)
	}
	for _, tt := range tests {
		if int(tt.status) != tt.number {
			t.Errorf("%v is %d, want %d", tt.status, int(tt.status), tt.number)
		}
		if got := tt.status.String(); got != tt.text {
			t.Errorf("Status(%d) reads %q, want %q", tt.number, got, tt.text)
		}
		w.SetStatus(tt.status)
		if got := w.Status(); got != tt.status {
			t.Errorf("Status = %v after SetStatus(%v)", got, tt.status)
		}
	}
}
