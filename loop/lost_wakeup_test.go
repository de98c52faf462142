package loop

import (
	"testing"
	"time"
)

// A call of Close or Shutdown just before the loop says that it sleeps does
// not wake it: the loop has to look, before it does, for what it has not acted
// on yet. This is the order of events that a race would have to hit.
func TestStopBeforeSleep(t *testing.T) {
	tests := []struct {
		name     string
		level    int32
		draining bool
		stop     bool
	}{
		{"Close", stopNow, false, true},
		{"Shutdown", stopDrain, false, true},
		{"Close during Shutdown", stopNow, true, true},
		{"Shutdown that has been acted on", stopDrain, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newStopped(t)
			alarm := 20 * time.Second
			if !tt.stop {
				alarm = time.Millisecond
			}
			rings := l.AfterFunc(alarm, func() {})
			l.stopping.Store(tt.level)
			l.draining = tt.draining
			if err := l.poll(); err != nil {
				t.Fatal(err)
			}
			if slept := l.clock() >= rings.t.when; slept == tt.stop {
				t.Errorf("slept: %t", slept)
			}
			l.stopping.Store(stopNot)
		})
	}
}

// The same for a message that comes after the loop has looked for work, and
// before it says that it sleeps.
func TestPostBeforeSleep(t *testing.T) {
	l := newStopped(t)
	// Whether there is room for a connection is asked last: a way in.
	l.listeners = []*Listener{{l: l, ready: true, deal: func() *Loop {
		if err := l.Post(func() {}); err != nil {
			t.Error(err)
		}
		return nil
	}}}
	rings := l.AfterFunc(20*time.Second, func() {})
	if err := l.poll(); err != nil {
		t.Fatal(err)
	}
	if l.clock() >= rings.t.when {
		t.Error("slept with a message in the inbox")
	}
	l.listeners = nil
}
