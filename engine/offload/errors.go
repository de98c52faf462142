package offload

import (
	"errors"
	"fmt"
	"os"
)

var (
	// ErrInvalidConfig is New's answer to a Config it cannot work with.
	ErrInvalidConfig = errors.New("offload: invalid configuration")
	// ErrInvalidKey is Engine.Key's answer to a signer it cannot work with.
	ErrInvalidKey = errors.New("offload: invalid key")
	// ErrClosed: the Engine is closed.
	ErrClosed = errors.New("offload: closed")
	// ErrTimeout: the operation took longer than Config.Timeout. It is also
	// os.ErrDeadlineExceeded, and a net.Error whose Timeout method returns
	// true.
	ErrTimeout error = timeoutError{}
	// ErrStuck: workers are in signers that do not return. As an operation's
	// error, it says that no worker is left to take it up, and comes with
	// ErrTimeout.
	ErrStuck = errors.New("offload: workers are stuck")
	// ErrGoexit: the signer called runtime.Goexit.
	ErrGoexit = errors.New("offload: signer called runtime.Goexit")
	// ErrNoWake: the operation was not begun, because the job could not be woken
	// at its end: the system gives no descriptor.
	ErrNoWake = errors.New("offload: no way to wake the job")
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "offload: operation timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// PanicError is the error of an operation whose signer panicked.
type PanicError struct {
	Value any    // what the signer panicked with
	Stack []byte // the worker's stack at the panic, as runtime/debug.Stack prints it
}

// Error gives the value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("offload: signer panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
