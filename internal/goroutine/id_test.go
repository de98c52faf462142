package goroutine

import (
	"runtime"
	"testing"
)

// Goroutines that live at the same time have different numbers, and a goroutine
// keeps its number, whatever its stack and its thread.
func TestID(t *testing.T) {
	if ID() == 0 {
		t.Skip("not supported here")
	}
	const n = 100
	ids := make(chan uintptr)
	release := make(chan bool)
	for range n {
		go func() {
			first := ID()
			runtime.Gosched()
			deep(200)
			if id := ID(); id != first {
				t.Errorf("ID %#x has become %#x", first, id)
			}
			ids <- first
			<-release
		}()
	}
	seen := map[uintptr]bool{ID(): true}
	for range n {
		id := <-ids
		if seen[id] {
			t.Errorf("two goroutines have ID %#x", id)
		}
		seen[id] = true
	}
	close(release)
}

// deep makes the stack grow, and so move.
func deep(n int) byte {
	var b [512]byte
	if n > 0 {
		b[n%len(b)] = deep(n - 1)
	}
	return b[0] + byte(n)
}

func BenchmarkID(b *testing.B) {
	for b.Loop() {
		ID()
	}
}
