//go:build linux

package process

import (
	"context"
	"os"
	"testing"
	"time"
)

// What is used between two moments is this process's: work shows.
func TestTakeUsage(t *testing.T) {
	before, err := TakeUsage(os.Getpid(), AnyCPU)
	if err != nil {
		t.Fatal(err)
	}
	work(t)
	after, err := TakeUsage(os.Getpid(), AnyCPU)
	if err != nil {
		t.Fatal(err)
	}
	if !after.When.After(before.When) || after.CPU <= before.CPU || after.User+after.System < before.User+before.System || after.RSS == 0 || after.Switches < before.Switches || after.Core != 0 {
		t.Errorf("%+v, then %+v", before, after)
	}
}

func TestWatcherAt(t *testing.T) {
	t0 := time.Now()
	var w Watcher
	for i := range 3 {
		n := time.Duration(i) * time.Second
		w.samples = append(w.samples, Usage{When: t0.Add(10 * n), CPU: n, User: 2 * n, System: 3 * n, Core: 4 * n, RSS: int64(i), Switches: int64(100 * i)})
	}
	at := t0.Add(12500 * time.Millisecond) // a quarter after the second
	const n = 1250 * time.Millisecond
	want := Usage{When: at, CPU: n, User: 2 * n, System: 3 * n, Core: 4 * n, RSS: 2, Switches: 125}
	if got, err := w.At(at); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, off := range []time.Duration{-time.Second, 21 * time.Second} {
		if _, err := w.At(t0.Add(off)); err == nil {
			t.Errorf("no error of %v, when nobody looked", off)
		}
	}
}

// A watcher has samples on both sides of whatever happened while it ran.
func TestWatcherRuns(t *testing.T) {
	w := Watcher{PID: os.Getpid(), Core: AnyCPU}
	if err := w.Sample(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.At(now); err != nil {
		t.Error(err)
	}
	gone := Watcher{PID: noPID, Core: AnyCPU}
	if err := gone.Run(t.Context()); err == nil {
		t.Error("no error of a process that is not there")
	}
}
