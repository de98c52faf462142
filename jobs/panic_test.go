package jobs_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

// panicDeep has a name that the tests look for in the stack.
func panicDeep(v any) { panic(v) }

func TestPanic(t *testing.T) {
	p := newPool(t, 1, 1)
	for _, pauses := range []int{0, 1} {
		for _, value := range []any{"text", 7, io.ErrUnexpectedEOF} {
			j, st, err := p.Start(nil, func(j jobs.Job) error {
				for range pauses {
					j.Pause()
				}
				panicDeep(value)
				return nil
			})
			if pauses > 0 {
				want(t, st, err, jobs.StatusPaused, nil)
				st, err = j.Resume()
			}
			var pe *jobs.PanicError
			if st != jobs.StatusError || !errors.As(err, &pe) {
				t.Fatalf("panic(%v) after %d pauses: %v, %v", value, pauses, st, err)
			}
			if pe.Value != value {
				t.Errorf("Value = %v, want %v", pe.Value, value)
			}
			if !strings.Contains(string(pe.Stack), "jobs_test.panicDeep(") {
				t.Errorf("the stack does not show where the job panicked:\n%s", pe.Stack)
			}
			st, err = j.Resume()
			want(t, st, err, jobs.StatusError, jobs.ErrFinished)
			wantUsable(t, p)
		}
	}
}

func TestPanicOfTheRuntime(t *testing.T) {
	p := newPool(t, 0, 0)
	tests := map[string]func(){
		"nil pointer": func() { var p *int; *p = 1 },
		"index":       func() { var s []int; s[len(s)] = 1 },
		"nil":         func() { panic(nil) },
	}
	for name, fn := range tests {
		_, st, err := p.Start(nil, func(jobs.Job) error { fn(); return nil })
		var re runtime.Error
		if st != jobs.StatusError || !errors.As(err, &re) {
			t.Errorf("%s: %v, %v, want a runtime.Error", name, st, err)
		}
	}
	wantUsable(t, p)
}

func TestPanicError(t *testing.T) {
	cause := &jobs.PanicError{Value: io.EOF, Stack: []byte("goroutine 7")}
	if !errors.Is(cause, io.EOF) {
		t.Error("a panic with an error is not that error")
	}
	if errors.Unwrap(&jobs.PanicError{Value: "EOF"}) != nil {
		t.Error("a panic with a string unwraps to something")
	}
	for _, part := range []string{"EOF", "goroutine 7"} {
		if !strings.Contains(cause.Error(), part) {
			t.Errorf("%q lacks %q", cause, part)
		}
	}
}

// A job that recovers its own panic has not failed.
func TestRecoveredPanic(t *testing.T) {
	p := newPool(t, 0, 0)
	_, st, err := p.Start(nil, func(jobs.Job) (err error) {
		defer func() { err = recover().(error) }()
		panic(io.EOF)
	})
	want(t, st, err, jobs.StatusFinished, io.EOF)
}

func TestGoexit(t *testing.T) {
	tests := []struct {
		name  string
		fn    func(jobs.Job)
		pause bool // the job pauses once
		want  error
	}{
		{
			name: "at once",
			fn:   func(jobs.Job) { runtime.Goexit() },
			want: jobs.ErrGoexit,
		},
		{
			name:  "after a pause",
			fn:    func(j jobs.Job) { j.Pause(); runtime.Goexit() },
			pause: true,
			want:  jobs.ErrGoexit,
		},
		{
			name:  "with a deferred call that pauses",
			fn:    func(j jobs.Job) { defer j.Pause(); runtime.Goexit() },
			pause: true,
			want:  jobs.ErrGoexit,
		},
		{
			name: "with a deferred call that recovers nothing",
			fn:   func(jobs.Job) { defer func() { recover() }(); runtime.Goexit() },
			want: jobs.ErrGoexit,
		},
		{
			// A Goexit goes on when a panic on top of it has been recovered.
			name: "with a deferred call that panics",
			fn:   func(jobs.Job) { defer panicDeep(io.EOF); runtime.Goexit() },
			want: io.EOF,
		},
		{
			name: "with a deferred call that panics and one that recovers",
			fn: func(jobs.Job) {
				defer func() { recover() }()
				defer panicDeep(io.EOF)
				runtime.Goexit()
			},
			want: jobs.ErrGoexit,
		},
		{
			name: "in a panic",
			fn:   func(jobs.Job) { defer runtime.Goexit(); panicDeep(io.EOF) },
			want: jobs.ErrGoexit,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, 1, 1)
			goroutines := runtime.NumGoroutine()
			deferred := 0
			j, st, err := p.Start(nil, func(j jobs.Job) error {
				defer func() { deferred++ }()
				tt.fn(j)
				return nil
			})
			if tt.pause {
				want(t, st, err, jobs.StatusPaused, nil)
				st, err = j.Resume()
			}
			want(t, st, err, jobs.StatusError, tt.want)
			if deferred != 1 {
				t.Errorf("the deferred call ran %d times, want 1", deferred)
			}
			// The goroutine cannot be reused, and must not stay.
			wantGoroutines(t, goroutines-1)
			if got := p.Stats(); got.Idle != 0 || got.Paused != 0 {
				t.Errorf("%+v, want no coroutine", got)
			}
			st, err = j.Resume()
			want(t, st, err, jobs.StatusError, jobs.ErrFinished)
			wantUsable(t, p)
		})
	}
}

// The others go on.
func TestGoexitAmongOthers(t *testing.T) {
	p := newPool(t, 0, 0)
	var others []jobs.Job
	for range 3 {
		others = append(others, startPaused(t, p, pauseOnce))
		_, st, err := p.Start(nil, func(jobs.Job) error { runtime.Goexit(); return nil })
		want(t, st, err, jobs.StatusError, jobs.ErrGoexit)
	}
	for _, j := range others {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusFinished, nil)
	}
}
