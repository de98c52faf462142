package loop_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// bench runs fn as a job, and the clock while it runs.
func bench(b *testing.B, fn func(ctx context.Context) error) {
	b.Helper()
	l := looptest.New(b, loop.Config{})
	b.ReportAllocs()
	b.ResetTimer()
	if err := do(b, l, fn); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}

// A server that sets a deadline before each read.
func BenchmarkDeadlineAndRead(b *testing.B) {
	l := looptest.New(b, loop.Config{})
	c, done := pair(b, l, func(_ context.Context, c *loop.Conn) error {
		p := make([]byte, 1)
		for range b.N {
			if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				return err
			}
			if _, err := c.Read(p); err != nil {
				return err
			}
		}
		return nil
	})
	go func() {
		for p := make([]byte, 1<<16); ; {
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	c.Close()
}

// A job that starts, and ends without a pause.
func BenchmarkGo(b *testing.B) {
	bench(b, func(ctx context.Context) error {
		l, _ := loop.FromContext(ctx)
		n := 0
		count := func(context.Context) error { n++; return nil }
		for i := range b.N {
			if err := l.Go(count); err != nil {
				return err
			}
			if i%100 == 99 || i == b.N-1 { // a hundred at a time
				for n <= i {
					if err := loop.Sleep(ctx, 0); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

func BenchmarkEcho(b *testing.B) {
	l := looptest.New(b, loop.Config{})
	c, _ := pair(b, l, func(_ context.Context, c *loop.Conn) error {
		for p := make([]byte, 64); ; {
			if _, err := io.ReadFull(c, p); err != nil {
				return err
			}
			if _, err := c.Write(p); err != nil {
				return err
			}
		}
	})
	defer c.Close()
	c.SetDeadline(time.Time{})
	p := make([]byte, 64)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}

// From another goroutine, and back.
func BenchmarkPost(b *testing.B) {
	l := looptest.New(b, loop.Config{})
	done := make(chan bool)
	f := func() { done <- true }
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Post(f); err != nil {
			b.Fatal(err)
		}
		<-done
	}
}

// A job that pauses, and an engine on the loop's thread that calls back.
func BenchmarkCallback(b *testing.B) {
	bench(b, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		for range b.N {
			fn, arg, _ := j.WaitCtx().Callback()
			if err := fn(arg); err != nil {
				return err
			}
			if err := j.Pause(); err != nil {
				return err
			}
		}
		return nil
	})
}
