package logqueue_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/internal/testkit"
)

// blocked returns a queue that calls a function until release is called.
func blocked(t *testing.T) (q *logqueue.Queue, release func()) {
	t.Helper()
	testkit.CheckLeaks(t)
	q = new(logqueue.Queue)
	entered, wait := make(chan bool), make(chan bool)
	release = sync.OnceFunc(func() { close(wait) })
	t.Cleanup(release)
	q.Do(func() { close(entered); <-wait })
	testkit.Receive(t, entered)
	return q, release
}

func flush(q *logqueue.Queue) { q.Flush(context.Background(), testkit.Patience) }

// What fits is called in order, also what functions add. What does not fit is
// counted, and told of where it is missing.
func TestQueue(t *testing.T) {
	q, release := blocked(t)
	var got []int
	q.Lost = func(n uint64) { got = append(got, -int(n)) }
	for i := range logqueue.Max + 3 {
		q.Do(func() { got = append(got, i) })
	}
	if n := q.Dropped(); n != 3 {
		t.Errorf("%d were dropped, want 3", n)
	}
	release()
	flush(q)
	q.Do(func() { q.Do(func() { got = append(got, -1000) }) })
	flush(q)
	flush(q)
	var want []int
	for i := range logqueue.Max {
		want = append(want, i)
	}
	if want = append(want, -3, -1000); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// A loss is told of even if nothing is added afterwards.
func TestQueueTellsOfLoss(t *testing.T) {
	q, release := blocked(t)
	lost := make(chan uint64, 1)
	q.Lost = func(n uint64) { lost <- n }
	for range logqueue.Max + 2 {
		q.Do(func() {})
	}
	release()
	if n := testkit.Receive(t, lost); n != 2 {
		t.Errorf("%d were lost, want 2", n)
	}
}

// Functions that panic or end their goroutine stop neither the queue nor Flush.
func TestQueueSurvives(t *testing.T) {
	testkit.CheckLeaks(t)
	var q logqueue.Queue
	calls := 0
	for range 10 {
		q.Do(func() { calls++; panic("in a function") })
		q.Do(func() { calls++; runtime.Goexit() })
	}
	flush(&q)
	if calls != 20 {
		t.Errorf("%d calls, want 20", calls)
	}
}

// Flush waits neither for itself, nor longer than it may.
func TestFlushIsBounded(t *testing.T) {
	q, release := blocked(t)
	q.Flush(context.Background(), time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	q.Flush(ctx, time.Hour)
	flushed := make(chan bool)
	q.Do(func() {
		if !q.Inside() {
			t.Error("Inside is false inside")
		}
		q.Flush(context.Background(), time.Hour)
		close(flushed)
	})
	if q.Inside() {
		t.Error("Inside is true outside")
	}
	release()
	testkit.Receive(t, flushed)
}

// failing is a slog.Handler whose derived ones cannot be made.
type failing struct{ slog.Handler }

func (failing) WithGroup(string) slog.Handler { panic("in WithGroup") }

// A handler that panics in WithGroup does not turn a level off for ever, nor harm
// others.
func TestHandlerSurvives(t *testing.T) {
	testkit.CheckLeaks(t)
	var out testkit.Log
	h := logqueue.New(failing{out.Logger().Handler()})
	log := slog.New(h)
	bad := log.WithGroup("g")
	for range 3 {
		bad.Info("not written")
		flush(h.Queue())
	}
	testkit.Eventually(t, "it is asked again", func() bool { return bad.Enabled(context.Background(), slog.LevelInfo) })
	bad.Info("asks")
	flush(h.Queue())
	testkit.Eventually(t, "it is asked again", func() bool { return bad.Enabled(context.Background(), slog.LevelInfo) })
	log.Info("written")
	flush(h.Queue())
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=written") {
		t.Errorf("written: %s", got)
	}
}

type user struct{}

// perUser is a slog.Handler whose levels depend on the context and the level.
type perUser struct{ slog.Handler }

func (perUser) Enabled(ctx context.Context, level slog.Level) bool {
	return ctx.Value(user{}) != nil || level > slog.LevelInfo
}

// A record with a context of its own reaches a handler that decides by it, and so
// does one whose level has no name.
func TestHandlerAsksByContext(t *testing.T) {
	testkit.CheckLeaks(t)
	var out testkit.Log
	h := logqueue.New(perUser{out.Logger().Handler()})
	log := slog.New(h)
	for range 3 {
		log.Info("nobody's")
		log.InfoContext(context.WithValue(t.Context(), user{}, 1), "somebody's")
		log.Log(t.Context(), slog.LevelInfo+1, "odd")
		flush(h.Queue())
	}
	if got := out.String(); strings.Count(got, "somebody's") != 3 || strings.Count(got, "odd") != 3 || strings.Contains(got, "nobody's") {
		t.Errorf("written: %s", got)
	}
}

// Many goroutines may log, and change levels, at a time.
func TestHandlerConcurrently(t *testing.T) {
	testkit.CheckLeaks(t)
	var out testkit.Log
	var level slog.LevelVar
	h := logqueue.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				slog.New(h).With("i", i).Info("x")
				level.Set(slog.Level(i%2) * slog.LevelWarn)
			}
		})
	}
	wg.Wait()
	level.Set(slog.LevelWarn)
	slog.New(h).Warn("the end")
	flush(h.Queue())
	if got := out.Lines(); !strings.Contains(got[len(got)-1], "the end") {
		t.Errorf("the last line: %s", got[len(got)-1])
	}
}

// Whoever waits for a queue that is stuck does not fill it.
func TestFlushKeepsNothing(t *testing.T) {
	q := new(logqueue.Queue)
	release := make(chan bool)
	q.Do(func() { <-release })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 100_000 {
		q.Flush(ended, time.Hour)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 2<<20 {
		t.Errorf("%d bytes are kept", n)
	}
	close(release)
	q.Flush(t.Context(), testkit.Patience)
}

// A handler whose own output comes back as records does not keep a core busy for ever.
func TestEcho(t *testing.T) {
	var h *logqueue.Handler
	n := 0
	h = logqueue.New(handlerFunc(func(r slog.Record) {
		n++
		slog.New(h).Info("again")
	}))
	slog.New(h).Info("once")
	h.Queue().Flush(t.Context(), testkit.Patience)
	testkit.Eventually(t, "it ends", func() bool { return h.Queue().Dropped() == 1 })
	h.Queue().Flush(t.Context(), testkit.Patience)
	if n < 2 {
		t.Errorf("%d records were written", n)
	}
}

type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool        { return true }
func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f handlerFunc) WithGroup(string) slog.Handler                 { return f }
