package loop

import (
	"testing"
	"time"
)

// Before Linux 5.11 waits are in milliseconds, and must not end early either.
func TestPollerCoarseTimeouts(t *testing.T) {
	p := newTestPoller(t)
	p.coarse = true
	var events [4]event
	for _, timeout := range []time.Duration{1, 1500 * time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		n, err := p.wait(events[:], timeout)
		if d := time.Since(start); n != 0 || err != nil || d < timeout {
			t.Errorf("wait(%v) = %d, %v after %v", timeout, n, err, d)
		}
	}
	if err := p.wake(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.wait(events[:], 1<<63-1); n != 0 || err != nil {
		t.Errorf("wait for 292 years, woken = %d, %v", n, err)
	}
}
