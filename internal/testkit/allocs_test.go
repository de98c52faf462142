package testkit_test

import (
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

var sink *[64]byte

// What is allocated each time is counted, and what is allocated once is not.
func TestAllocsPerRun(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	if n := testkit.AllocsPerRun(10, func() { sink = new([64]byte) }); n != 1 {
		t.Errorf("%v allocations, want 1", n)
	}
	calls := 0
	if n := testkit.AllocsPerRun(10, func() {
		if calls++; calls == 5 {
			for range 1000 {
				sink = new([64]byte)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations, want those of one call not to count", n)
	}
}
