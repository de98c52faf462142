package offload

import (
	"testing"
	"time"
)

func TestConfigDefaults(t *testing.T) {
	for _, tt := range []struct{ cfg, want Config }{
		{Config{}, Config{Workers: 16, Timeout: 10 * time.Second, MaxStuck: 16}},
		{Config{Workers: 3}, Config{Workers: 3, Timeout: 10 * time.Second, MaxStuck: 3}},
		{Config{MaxStuck: -1, Timeout: -1}, Config{Workers: 16, Timeout: -1, MaxStuck: 0}},
		{Config{Workers: 2, MaxStuck: 7, Timeout: 1}, Config{Workers: 2, MaxStuck: 7, Timeout: 1}},
	} {
		e, err := New(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, want := e.cfg, tt.want
		if got.Workers != want.Workers || got.Timeout != want.Timeout || got.MaxStuck != want.MaxStuck {
			t.Errorf("New(%+v) works with %+v, want %+v", tt.cfg, got, want)
		}
	}
}

// Without a timeout there is no timer.
func TestNoTimer(t *testing.T) {
	for timeout, want := range map[time.Duration]bool{-1: false, time.Hour: true} {
		e, err := New(Config{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		op := &operation{engine: e, call: func() ([]byte, error) { return nil, nil }, done: make(chan struct{})}
		if err := e.submit(op); err != nil {
			t.Fatal(err)
		}
		<-op.done
		if (op.timer != nil) != want {
			t.Errorf("with timeout %v, a timer: %t, want %t", timeout, op.timer != nil, want)
		}
	}
}
