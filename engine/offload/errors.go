package offload

import (
	"errors"
	"fmt"
	"os"

	"github.com/jobloop/jobloop/internal/panicvalue"
)

var (
	// ErrInvalidConfig is returned by New for a Config it cannot use.
	ErrInvalidConfig = errors.New("offload: invalid configuration")
	// ErrInvalidKey is returned by Engine.Key for a signer it cannot use.
	ErrInvalidKey = errors.New("offload: invalid key")
	// ErrClosed says that the Engine is closed.
	ErrClosed = errors.New("offload: closed")
	// ErrTimeout says that the operation took longer than Config.Timeout. It
	// matches os.ErrDeadlineExceeded, and is a net.Error whose Timeout method
	// returns true.
	ErrTimeout error = timeoutError{}
	// ErrStuck says that workers are in signers that do not return. As the error of
	// an operation, it says that no worker was left for it, and comes with
	// ErrTimeout. Close returns it too.
	ErrStuck = errors.New("offload: workers are stuck")
	// ErrGoexit says that the signer called runtime.Goexit.
	ErrGoexit = errors.New("offload: signer called runtime.Goexit")
	// ErrNoWake says that the operation was not started because the job could not
	// have been woken at its end, for lack of a descriptor.
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

// Error returns the value and the stack as text.
func (e *PanicError) Error() string {
	return fmt.Sprintf("offload: signer panicked: %s\n\n%s", panicvalue.Text(e.Value), e.Stack)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
