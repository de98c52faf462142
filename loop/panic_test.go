package loop_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A job that panics, or leaves in another way, takes its connection with it and
// nothing else. The log says where it happened.
func TestHandlerEndsBadly(t *testing.T) {
	tests := []struct {
		name string
		end  func()
		log  []string
	}{
		{"panic", func() { panicHere("oh no") }, []string{"oh no", "panicHere", "level=ERROR", "remote=127.0.0.1"}},
		{"nil panic", func() { panicHere(nil) }, []string{"panicHere", "level=ERROR"}},
		{"Goexit", runtime.Goexit, []string{"level=ERROR", "remote=127.0.0.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out testkit.Log
			l := looptest.New(t, loop.Config{Logger: out.Logger()})
			addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return nil
					}
					if b[0] == '!' {
						tt.end()
					}
					if _, err := c.Write(b); err != nil {
						return err
					}
				}
			}))
			bystander, c := testkit.Dial(t, addr), testkit.Dial(t, addr)
			send(t, bystander, "a")
			testkit.WantRead(t, bystander, "a")
			send(t, c, "!")
			expectEOF(t, c)
			send(t, bystander, "b")
			testkit.WantRead(t, bystander, "b")
			if s := looptest.Settle(t, l); s.JobsPanicked != 1 || s.Conns != 1 {
				t.Errorf("%+v, want 1 job panicked, 1 connection", s)
			}
			wantOneLine(t, l, &out, tt.log...)
		})
	}
}

func panicHere(v any) { panic(v) }

func TestJobPanics(t *testing.T) {
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	if err := do(t, l, func(ctx context.Context) error {
		if err := loop.Sleep(ctx, 1); err != nil { // it has been paused
			return err
		}
		panicHere("after a pause")
		return nil
	}); err != looptest.ErrLeft {
		t.Errorf("the job returned %v", err)
	}
	looptest.Settle(t, l)
	wantOneLine(t, l, &out, "level=ERROR", "after a pause", "panicHere")
}

// A posted function that ends the loop's goroutine ends the loop, as Close
// would: nothing hangs.
func TestGoexitInPostedFunction(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	canceled := make(chan error, 1)
	if err := l.Go(func(ctx context.Context) error {
		err := loop.Sleep(ctx, time.Hour)
		canceled <- err
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Post(func() { l.AfterFunc(time.Millisecond, runtime.Goexit) }); err != nil {
		t.Fatal(err)
	}
	go l.Run(context.Background())
	if err := testkit.Receive(t, canceled); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("the job ended with %v, want ErrCanceled", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := l.Go(func(context.Context) error { return nil }); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Go: %v, want ErrClosed", err)
	}
}

// evil is a value whose text cannot be made.
type evil struct{ do func(v any) }

func (e evil) String() string { e.do(e); return "" }

// Whatever a job or a call panics with, the loop goes on.
func TestPanicValues(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	block := make(chan bool)
	defer close(block)
	for what, v := range map[string]any{
		"panics again": evil{func(v any) { panic(v) }},
		"ends":         evil{func(any) { runtime.Goexit() }},
		"blocks":       evil{func(any) { <-block }},
		"has itself":   cycle,
	} {
		t.Run(what, func(t *testing.T) {
			l := looptest.New(t, loop.Config{Logger: silent(), Accept: func(net.Addr) bool { panic(v) }})
			done := make(chan bool)
			if err := l.Go(func(context.Context) error { defer close(done); panic(v) }); err != nil {
				t.Fatal(err)
			}
			testkit.Receive(t, done)
			if err := l.Post(func() { panic(v) }); err != nil {
				t.Fatal(err)
			}
			if c, err := net.Dial("tcp", looptest.Listen(t, l, echo).String()); err == nil { // it may be reset at once
				c.Close()
			}
			looptest.Must(t, l, func(context.Context) error { return nil })
		})
	}
}
