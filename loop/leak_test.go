package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/goroutine"
)

// CheckLeaks makes the test fail if, at its end, more descriptors or
// goroutines exist than now. Jobs count as goroutines.
func CheckLeaks(t testing.TB) {
	t.Helper()
	warmUp(t)
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		// What ends on other goroutines, and in the kernel, ends a little later.
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			leakedFDs, leakedGoroutines := len(descriptors())-len(fds), runtime.NumGoroutine()-goroutines
			if leakedFDs <= 0 && leakedGoroutines <= 0 {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d descriptors and %d goroutines leaked", leakedFDs, leakedGoroutines)
				if leakedFDs > 0 {
					t.Logf("descriptors before:\n%s\nafter:\n%s", strings.Join(fds, "\n"), strings.Join(descriptors(), "\n"))
				}
				if leakedGoroutines > 0 {
					stacks := make([]byte, 1<<16)
					t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
				}
				return
			}
		}
	})
}

// descriptors lists the open descriptors of the process; where the system has
// no such directory, none.
func descriptors() []string {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		var fds []string
		for _, e := range entries {
			target, _ := os.Readlink(dir + "/" + e.Name())
			fds = append(fds, fmt.Sprintf("%s %s", e.Name(), target))
		}
		return fds
	}
	return nil
}

// warmUp has package net open, once, the descriptors it keeps.
func warmUp(t testing.TB) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

// newStopped returns a loop that is not running, for a test that looks inside.
func newStopped(t *testing.T) *Loop {
	t.Helper()
	CheckLeaks(t)
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
