package testkit

import (
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// checked holds the tests that CheckLeaks has been called in.
var checked sync.Map

// CheckLeaks makes the test fail if, at its end, more descriptors or goroutines
// exist than now, at its first call. Jobs count as goroutines.
func CheckLeaks(t testing.TB) {
	t.Helper()
	if _, again := checked.LoadOrStore(t, true); again {
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // package net opens, once, descriptors that it keeps
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	fds, goroutines := Descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		checked.Delete(t)
		// What ends on other goroutines, and in the kernel, ends a little later.
		for end := time.Now().Add(Patience); ; time.Sleep(time.Millisecond) {
			now := Descriptors()
			moreFDs, more := len(now)-len(fds), runtime.NumGoroutine()-goroutines
			if moreFDs <= 0 && more <= 0 {
				return
			}
			if time.Now().After(end) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d descriptors and %d goroutines leaked\ndescriptors before:\n%s\nafter:\n%s\n\n%s", moreFDs, more,
					strings.Join(fds, "\n"), strings.Join(now, "\n"), stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// Descriptors lists the open descriptors of the process, each with what it is
// if the system tells; where the system has no such directory, none.
func Descriptors() []string {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		var fds []string
		for _, e := range entries {
			target, _ := os.Readlink(dir + "/" + e.Name())
			fds = append(fds, e.Name()+" "+target)
		}
		return fds
	}
	return nil
}
