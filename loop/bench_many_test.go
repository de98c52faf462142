package loop_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// One connection's echo while other jobs are paused in a timer: they should cost
// nothing.
func BenchmarkEchoBesidePaused(b *testing.B) {
	for _, n := range []int{0, 9_000} { // of the 10,000 jobs a loop has by default
		b.Run(fmt.Sprintf("paused=%d", n), func(b *testing.B) {
			l := looptest.New(b, loop.Config{MaxQueued: n + 10})
			paused := make(chan struct{}, n)
			for range n {
				err := l.Go(func(ctx context.Context) error {
					paused <- struct{}{}
					return loop.Sleep(ctx, time.Hour)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			for range n {
				testkit.Receive(b, paused)
			}
			c, _ := pair(b, l, func(_ context.Context, c *loop.Conn) error {
				_, err := io.Copy(c, c)
				return err
			})
			defer c.Close()
			defer l.Close() // which cancels the paused
			c.SetDeadline(time.Time{})
			p := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Many jobs are ready at a time and take turns: what the loop adds to a switch
// of stacks.
func BenchmarkTurns(b *testing.B) {
	for _, n := range []int{1, 100, 5_000} {
		b.Run(fmt.Sprintf("jobs=%d", n), func(b *testing.B) {
			l := looptest.New(b, loop.Config{MaxQueued: n + 10})
			done := make(chan error, n)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range n {
				err := l.Go(func(ctx context.Context) error {
					j, _ := jobs.FromContext(ctx)
					err := takeTurns(j, (b.N+i)/n)
					done <- err
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			for range n {
				if err := testkit.Receive(b, done); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// takeTurns lets the other jobs run n times, by a call that comes before the
// pause.
func takeTurns(j jobs.Job, n int) error {
	for range n {
		fn, arg, _ := j.WaitCtx().Callback()
		if err := fn(arg); err != nil {
			return err
		}
		if err := j.Pause(); err != nil {
			return err
		}
	}
	return nil
}
