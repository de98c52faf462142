package loop_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// blockThread is what the stack must show.
func blockThread(release <-chan bool) { <-release }

// told counts the lines that have it. (On a busy machine there may be others: a
// loop that does not get its core keeps its thread, too.)
func told(log *testkit.Log) (n int) {
	for _, line := range log.Lines() {
		if strings.Contains(line, "keeps the thread") && strings.Contains(line, "blockThread") {
			n++
		}
	}
	return n
}

// A job that keeps the thread is told of once, with its stack, while it does.
func TestWatchdog(t *testing.T) {
	for name, block := range map[string]func(l *loop.Loop, release <-chan bool) error{
		"job": func(l *loop.Loop, r <-chan bool) error {
			return l.Go(func(context.Context) error { blockThread(r); return nil })
		},
		"function": func(l *loop.Loop, r <-chan bool) error { return l.Post(func() { blockThread(r) }) },
	} {
		t.Run(name, func(t *testing.T) {
			var log testkit.Log
			l := looptest.New(t, loop.Config{BlockedAfter: 20 * time.Millisecond, Logger: log.Logger()})
			other := looptest.New(t, loop.Config{}) // whose stack is not to be shown
			otherRelease := make(chan bool)
			other.Post(func() { <-otherRelease })
			release := make(chan bool)
			// Others are paused meanwhile.
			looptest.Spawn(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, time.Hour) })
			looptest.Settle(t, l)
			if err := block(l, release); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "it is counted", func() bool { return l.Stats().JobsBlocked >= 1 })
			testkit.Eventually(t, "it is logged", func() bool { return told(&log) > 0 })
			close(release)
			close(otherRelease)
			looptest.Settle(t, l)
			if n := told(&log); n != 1 {
				t.Errorf("%d lines of the log have the stack, want 1:\n%s", n, strings.Join(log.Lines(), "\n"))
			}
			l.Close() // one job sleeps on
		})
	}
}

// A loop that sleeps, or works in small pieces, is not told of.
func TestWatchdogIsQuiet(t *testing.T) {
	l := looptest.New(t, loop.Config{BlockedAfter: time.Minute})
	looptest.Must(t, l, func(ctx context.Context) error {
		for range 100 {
			if err := loop.Sleep(ctx, 100*time.Microsecond); err != nil {
				return err
			}
		}
		return nil
	})
	if n := l.Stats().JobsBlocked; n != 0 {
		t.Errorf("%d jobs have kept the thread", n)
	}
}
