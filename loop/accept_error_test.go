//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Only what says that the listener is of no use may end it.
func TestAcceptError(t *testing.T) {
	for err, want := range map[error]acceptOutcome{
		unix.EAGAIN:       acceptDrained,
		unix.EINTR:        acceptNext,
		unix.ECONNABORTED: acceptNext,
		unix.EPROTO:       acceptNext,
		unix.ENETDOWN:     acceptNext,
		unix.EHOSTUNREACH: acceptNext,
		unix.EPERM:        acceptNext,
		unix.ECONNRESET:   acceptNext,
		unix.EAFNOSUPPORT: acceptNext,
		unix.EMFILE:       acceptLater,
		unix.ENFILE:       acceptLater,
		unix.ENOBUFS:      acceptLater,
		unix.ENOMEM:       acceptLater,
		unix.ENOSPC:       acceptLater, // not known to happen
		unix.EBADF:        acceptFailed,
		unix.EINVAL:       acceptFailed,
		unix.ENOTSOCK:     acceptFailed,
	} {
		if got := acceptError(err); got != want {
			t.Errorf("%v: outcome %d, want %d", err, got, want)
		}
	}
}
