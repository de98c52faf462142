package loop

import (
	"errors"
	"testing"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/internal/testkit"
)

// newStopped returns a loop that is not running, for a test that looks inside.
func newStopped(t *testing.T) *Loop {
	t.Helper()
	testkit.CheckLeaks(t)
	l, err := New(Config{})
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.goroutine.Store(goroutine.ID()) // the test plays Run
	t.Cleanup(func() { l.Close() })
	return l
}
