//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package loop_test

import (
	"errors"
	"testing"

	"github.com/jobloop/jobloop/loop"
)

func TestUnsupported(t *testing.T) {
	if _, err := loop.New(loop.Config{}); !errors.Is(err, loop.ErrUnsupported) {
		t.Errorf("New: %v, want %v", err, loop.ErrUnsupported)
	}
}

func tinyBacklog(t *testing.T) string {
	t.Skip("no loop on this system")
	return ""
}
