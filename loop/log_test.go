package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Whatever a log handler does, the loop goes on.

// hooked is a slog.Handler made of functions, and keeps the records.
type hooked struct {
	enabled func(slog.Level) bool // nil: all are
	handle  func(slog.Record)     // nil: nothing more is done

	mu      sync.Mutex
	records []slog.Record
}

func (h *hooked) Enabled(_ context.Context, level slog.Level) bool {
	return h.enabled == nil || h.enabled(level)
}

func (h *hooked) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	h.records = append(h.records, r)
	h.mu.Unlock()
	if h.handle != nil {
		h.handle(r)
	}
	return nil
}

func (h *hooked) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *hooked) WithGroup(string) slog.Handler      { return h }

func (h *hooked) got() []slog.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

// panicked returns what the n-th call of logOne has logged, or "" if it is another
// record.
func panicked(r slog.Record) (v string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "panic" {
			v = a.Value.String()
		}
		return true
	})
	return v
}

// logMany makes the loop log n errors, which are numbered.
func logMany(t *testing.T, l *loop.Loop, n int) {
	t.Helper()
	for i := range n {
		if err := l.Post(func() { panic(fmt.Sprint("number ", i)) }); err != nil {
			t.Fatal(err)
		}
	}
}

// A handler that blocks, wherever it does, stops neither the loop nor its end. What
// does not fit in the queue is lost, counted, and told of.
func TestLogHandlerBlocks(t *testing.T) {
	const lost = 100
	for name, where := range map[string]func(h *hooked, block func()){
		"Handle":  func(h *hooked, block func()) { h.handle = func(slog.Record) { block() } },
		"Enabled": func(h *hooked, block func()) { h.enabled = func(slog.Level) bool { block(); return true } },
	} {
		t.Run(name, func(t *testing.T) {
			release, entered := make(chan bool), make(chan bool, 1)
			h := new(hooked)
			where(h, func() {
				select {
				case entered <- true:
				default:
				}
				<-release
			})
			l := looptest.NewIdle(t, loop.Config{Logger: slog.New(h)})
			free := sync.OnceFunc(func() { close(release) })
			defer free()
			ran := run(t, l, context.Background())
			logMany(t, l, 1)
			testkit.Receive(t, entered)
			logMany(t, l, logqueue.Max+lost)
			looptest.Must(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, time.Millisecond) })
			if n := l.Stats().LogsDropped; n != lost {
				t.Errorf("LogsDropped is %d, want %d", n, lost)
			}
			before := time.Now()
			looptest.ShutDown(t, l)
			wantEnd(t, ran, nil)
			free()
			l.FlushLogs()

			records := h.got()
			if n := len(records); n != logqueue.Max+2 {
				t.Fatalf("%d records were written, want %d", n, logqueue.Max+2)
			}
			if records[0].Time.After(before) || records[logqueue.Max].Time.After(before) {
				t.Error("the records have the time of the writing")
			}
			for i, r := range records[1 : logqueue.Max+1] {
				if got, want := panicked(r), fmt.Sprint("number ", i); got != want {
					t.Fatalf("record %d: %q, want %q", i, got, want)
				}
			}
			last := records[logqueue.Max+1]
			if want := fmt.Sprint(lost, " messages were lost"); !strings.HasPrefix(last.Message, want) || last.Level != slog.LevelWarn {
				t.Errorf("the last record: %v %q, want %q", last.Level, last.Message, want)
			}
		})
	}
}

// A handler that panics, or ends its goroutine, loses that record and no other.
func TestLogHandlerFails(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panic("in Handle") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			h := &hooked{handle: func(slog.Record) { fail() }}
			l := looptest.New(t, loop.Config{Logger: slog.New(h)})
			logMany(t, l, 3)
			looptest.Settle(t, l)
			l.FlushLogs()
			if n := len(h.got()); n != 3 {
				t.Errorf("Handle was called %d times, want 3", n)
			}
		})
	}
}

// A handler may call the methods of the loop that logs.
func TestLogHandlerCallsLoop(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]func(g *loop.Group, l *loop.Loop) error{
		"Post and Stats": func(_ *loop.Group, l *loop.Loop) error {
			called := make(chan bool)
			if err := l.Post(func() { close(called) }); err != nil {
				return err
			}
			<-called
			l.Stats()
			return l.Close()
		},
		"Go": func(_ *loop.Group, l *loop.Loop) error {
			done := make(chan error, 1)
			if err := l.Go(looptest.Report(done, func(ctx context.Context) error { return loop.Sleep(ctx, 1) })); err != nil {
				return err
			}
			return errors.Join(<-done, l.Close())
		},
		"Close":          func(_ *loop.Group, l *loop.Loop) error { return l.Close() },
		"Shutdown":       func(_ *loop.Group, l *loop.Loop) error { return l.Shutdown(ctx) },
		"Group.Close":    func(g *loop.Group, _ *loop.Loop) error { return g.Close() },
		"Group.Shutdown": func(g *loop.Group, _ *loop.Loop) error { return g.Shutdown(ctx) },
		"logging": func(_ *loop.Group, l *loop.Loop) error {
			for range 2 * logqueue.Max {
				l.Logger().Debug("more")
			}
			return l.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			var g *loop.Group
			returned := make(chan error, 1)
			var once sync.Once
			h := &hooked{handle: func(slog.Record) { once.Do(func() { returned <- call(g, g.Loops()[0]) }) }}
			g, err := loop.NewGroup(2, loop.Config{Logger: slog.New(h), BlockedAfter: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			ran := make(chan error, 1)
			go func() { ran <- g.Run(ctx) }()
			for _, l := range g.Loops() {
				looptest.Call(t, l, func() {})
			}
			logMany(t, g.Loops()[0], 1)
			if err := testkit.Receive(t, returned); err != nil {
				t.Error(err)
			}
			g.Close()
			if err := testkit.Receive(t, ran); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// What was logged is written when Run, or Shutdown, returns.
func TestLogIsWrittenBeforeTheEnd(t *testing.T) {
	const n = logqueue.Max / 2
	for name, end := range map[string]func(t *testing.T, l *loop.Loop, ran <-chan error){
		"Run":      func(t *testing.T, l *loop.Loop, ran <-chan error) { l.Close(); wantEnd(t, ran, nil) },
		"Shutdown": func(t *testing.T, l *loop.Loop, ran <-chan error) { looptest.ShutDown(t, l) },
	} {
		t.Run(name, func(t *testing.T) {
			h := &hooked{handle: func(slog.Record) { runtime.Gosched() }}
			l := looptest.NewIdle(t, loop.Config{Logger: slog.New(h)})
			ran := run(t, l, context.Background())
			logMany(t, l, n)
			looptest.Settle(t, l)
			end(t, l, ran)
			if got := len(h.got()); got != n {
				t.Errorf("%d of %d records were written", got, n)
			}
			if name == "Shutdown" {
				wantEnd(t, ran, nil)
			}
		})
	}
}

// A level that is not enabled costs no allocation and does not reach the handler.
// When it becomes enabled, that is noticed.
func TestLogLevel(t *testing.T) {
	var level slog.LevelVar
	h := &hooked{enabled: func(l slog.Level) bool { return l >= level.Level() }}
	l := looptest.New(t, loop.Config{Logger: slog.New(h)})
	level.Set(slog.LevelWarn)
	boom := errors.New("boom")
	fail := func() { do(t, l, func(context.Context) error { return boom }) }
	fail() // asks
	looptest.Settle(t, l)
	l.FlushLogs()
	if !testkit.RaceEnabled {
		if n := testkit.AllocsPerRun(100, func() { l.Logger().LogAttrs(context.Background(), slog.LevelDebug, "x", slog.Int("n", 1)) }); n >= 1 {
			t.Errorf("%v allocations for a level that is not enabled", n)
		}
	}
	for range 100 {
		fail()
	}
	looptest.Settle(t, l)
	l.FlushLogs()
	if r := h.got(); len(r) != 0 {
		t.Errorf("%d records were written, the first: %v", len(r), r[0])
	}
	level.Set(slog.LevelDebug)
	testkit.Eventually(t, "the new level is noticed", func() bool {
		fail()
		return len(h.got()) > 0
	})
}

// A blocked handler's queue is not filled by records that it does not want.
func TestLogLevelWhileBlocked(t *testing.T) {
	release, entered := make(chan bool), make(chan bool)
	h := &hooked{
		enabled: func(l slog.Level) bool { return l >= slog.LevelWarn },
		handle:  func(slog.Record) { entered <- true; <-release },
	}
	l := looptest.New(t, loop.Config{Logger: slog.New(h)})
	logMany(t, l, 1)
	testkit.Receive(t, entered)
	for range 2 * logqueue.Max {
		l.Logger().Debug("not wanted")
	}
	close(release)
	l.FlushLogs()
	if n := l.Stats().LogsDropped; n != 0 {
		t.Errorf("%d records were dropped", n)
	}
}

// Loop.Logger takes everything that a slog.Logger does. What it is given may change
// after the call.
func TestLoopLogger(t *testing.T) {
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	type point struct{ X, Y int }
	p, b, list := &point{1, 2}, []byte("bytes"), []string{"a", "b"}
	log := l.Logger().With("list", list).WithGroup("g").With("p", p)
	looptest.Call(t, l, func() {
		log.Info("hello", "b", b, "error", io.EOF, slog.Group("sub", "q", p), "level", slog.LevelError, "d", time.Second)
	})
	p.X, b[0], list[0] = 7, 'B', "A"
	l.FlushLogs()
	line := out.String()
	for _, want := range []string{"level=INFO msg=hello", `list="[a b]"`, `g.p="&{X:1 Y:2}"`, `g.b="bytes"`, "g.error=EOF", `g.sub.q="&{X:1 Y:2}"`, "g.level=ERROR", "g.d=1s"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
}
