package loop

import (
	"errors"
	"syscall"
	"testing"
)

// An error that crypto/tls does not keep is told once, though the loop has met it
// before the handler's Read, when it looked whether there is something.
func TestPeekedError(t *testing.T) {
	tc := &TLSConn{peekErr: syscall.ETIMEDOUT, peeked: 'x', hasPeek: true}
	if n, err := tc.readNow(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the byte before it: %d, %v", n, err)
	}
	if !tc.fill() {
		t.Error("fill does not see the error")
	}
	if _, err := tc.readNow(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("then %v, want %v", err, syscall.ETIMEDOUT)
	}
}
