package testkit

import (
	"errors"
	"io"
	"testing"
)

// WantErr proves that err is all of targets.
func WantErr(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %v, want one that is %v", err, target)
		}
	}
}

// WantRead proves that what comes next is want.
func WantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %.100q, error %v, want %.100q", got[:n], err, want)
	}
}
