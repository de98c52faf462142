// Package testkit has what the tests of several packages need: waiting for what
// must happen, looking for leaks, certificates, and connections from outside. It
// needs the standard library alone, so that the tests of every package can
// import it. What needs a loop is in looptest. A helper that one package alone
// uses stays with that package, and so does one that looks inside it.
package testkit

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen before it fails. No
// test may take it for how long something takes: the machine may be busy.
const Patience = 30 * time.Second

// Receive takes a value from c, which must come.
func Receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case v := <-c:
		return v
	case <-timeout.C:
		t.Fatal("nothing happens")
		panic("unreachable")
	}
}

// Eventually waits until cond is true.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
