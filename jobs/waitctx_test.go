package jobs_test

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

func TestWaitCtxGiven(t *testing.T) {
	p := newPool(t, 0, 0)
	w := waitctx.New()
	cleaned := 0
	j, st, err := p.Start(w, func(j jobs.Job) error {
		if j.WaitCtx() != w {
			t.Error("WaitCtx inside is not what was given to Start")
		}
		j.WaitCtx().SetWaitFD("key", 3, nil, func(*waitctx.WaitCtx, any, int, any) { cleaned++ })
		return j.Pause()
	})
	want(t, st, err, jobs.StatusPaused, nil)
	if j.WaitCtx() != w {
		t.Error("WaitCtx outside is not what was given to Start")
	}
	j.Resume()
	if j.WaitCtx() != nil {
		t.Error("a finished job has a WaitCtx")
	}
	if cleaned != 0 {
		t.Error("the pool closed a WaitCtx that is its caller's")
	}
	w.Close()
	if cleaned != 1 {
		t.Errorf("cleaned up %d times, want 1", cleaned)
	}
}

func TestChangesStartAfreshWhenTheJobResumes(t *testing.T) {
	for _, given := range []*waitctx.WaitCtx{nil, waitctx.New()} {
		p := newPool(t, 0, 0)
		changed := func(when string, w *waitctx.WaitCtx, added, deleted []int) {
			t.Helper()
			if a, d := w.ChangedFDs(nil, nil); !slices.Equal(a, added) || !slices.Equal(d, deleted) {
				t.Errorf("%s: ChangedFDs = %v, %v, want %v, %v", when, a, d, added, deleted)
			}
		}
		j, st, err := p.Start(given, func(j jobs.Job) error {
			w := j.WaitCtx()
			w.SetWaitFD("a", 3, nil, nil)
			w.SetWaitFD("b", 4, nil, nil)
			j.Pause()
			changed("first resume", w, nil, nil)
			w.ClearFD("a")
			w.SetWaitFD("c", 5, nil, nil)
			j.Pause()
			changed("second resume", w, nil, nil)
			return j.Pause()
		})
		want(t, st, err, jobs.StatusPaused, nil)
		w := j.WaitCtx()
		changed("first pause", w, []int{3, 4}, nil)
		j.Resume()
		changed("second pause", w, []int{5}, []int{3})
		j.Resume()
		changed("third pause", w, nil, nil)
		if all := w.AllFDs(nil); !slices.Equal(all, []int{4, 5}) {
			t.Errorf("AllFDs = %v, want [4 5]", all)
		}
	}
}

// A job's own WaitCtx is closed however the job ends.
func TestOwnWaitCtxIsClosed(t *testing.T) {
	tests := []struct {
		name   string
		end    func()
		cancel bool
		status jobs.Status
	}{
		{"returns", func() {}, false, jobs.StatusFinished},
		{"panics", func() { panic("end") }, false, jobs.StatusError},
		{"exits", runtime.Goexit, false, jobs.StatusError},
		{"is cancelled", func() {}, true, jobs.StatusFinished},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, 1, 1)
			var cleaned []int
			cleanup := func(_ *waitctx.WaitCtx, _ any, fd int, _ any) { cleaned = append(cleaned, fd) }
			j := startPaused(t, p, func(j jobs.Job) error {
				w := j.WaitCtx()
				w.SetWaitFD("kept", 3, nil, cleanup)
				w.SetWaitFD("cleared", 4, nil, cleanup)
				j.Pause()
				if j.WaitCtx() != w {
					t.Error("the job has another WaitCtx after a pause")
				}
				w.ClearFD("cleared")
				tt.end()
				return nil
			})
			if len(cleaned) != 0 {
				t.Fatalf("cleaned up %v before the job's end", cleaned)
			}
			end := j.Resume
			if tt.cancel {
				end = j.Cancel
			}
			if st, err := end(); st != tt.status {
				t.Fatalf("%v, %v, want %v", st, err, tt.status)
			}
			if !slices.Equal(cleaned, []int{3}) {
				t.Errorf("cleaned up %v, want [3]", cleaned)
			}
			if j.WaitCtx() != nil {
				t.Error("a finished job has a WaitCtx")
			}
			_, st, err := p.Start(nil, func(j jobs.Job) error {
				if fds := j.WaitCtx().AllFDs(nil); len(fds) != 0 {
					t.Errorf("the next job waits for %v", fds)
				}
				return nil
			})
			want(t, st, err, jobs.StatusFinished, nil)
		})
	}
}

// Whoever runs the pool may ask for the WaitCtx before the job does, to set a
// callback in it.
func TestOwnWaitCtxFromOutside(t *testing.T) {
	p := newPool(t, 0, 0)
	woken := false
	j := startPaused(t, p, func(j jobs.Job) error {
		j.Pause()
		fn, arg, ok := j.WaitCtx().Callback()
		if !ok {
			return errors.New("no callback")
		}
		return fn(arg)
	})
	j.WaitCtx().SetCallback(func(any) error { woken = true; return nil }, nil)
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
	if !woken {
		t.Error("the callback was not called")
	}
}

func panicInCleanup(*waitctx.WaitCtx, any, int, any) { panic(io.ErrClosedPipe) }

func TestCleanupPanics(t *testing.T) {
	p := newPool(t, 1, 1)
	runs := 0
	j, st, err := p.Start(nil, func(j jobs.Job) error {
		runs++
		return j.WaitCtx().SetWaitFD("key", 3, nil, panicInCleanup)
	})
	want(t, st, err, jobs.StatusError, io.ErrClosedPipe)
	var pe *jobs.PanicError
	if !errors.As(err, &pe) || !strings.Contains(string(pe.Stack), "jobs_test.panicInCleanup(") {
		t.Errorf("error %v, want a PanicError with the cleanup's stack", err)
	}
	st, err = j.Resume()
	want(t, st, err, jobs.StatusError, jobs.ErrFinished)
	if got := p.Stats(); runs != 1 || got != (jobs.Stats{Idle: 1, Started: 1, Finished: 1, Panicked: 1}) {
		t.Errorf("%d runs, %+v", runs, got)
	}

	// The job's own panic is the one to hear of.
	_, st, err = p.Start(nil, func(j jobs.Job) error {
		j.WaitCtx().SetWaitFD("key", 3, nil, panicInCleanup)
		panic(io.EOF)
	})
	want(t, st, err, jobs.StatusError, io.EOF)
	wantUsable(t, p)
}

// When a cleanup runs, its job has given its place back.
func TestCleanupMayUseThePool(t *testing.T) {
	p := newPool(t, 1, 1)
	ran := false
	_, st, err := p.Start(nil, func(j jobs.Job) error {
		return j.WaitCtx().SetWaitFD("key", 3, nil, func(*waitctx.WaitCtx, any, int, any) {
			_, st, err := p.Start(nil, func(jobs.Job) error { ran = true; return nil })
			want(t, st, err, jobs.StatusFinished, nil)
		})
	})
	want(t, st, err, jobs.StatusFinished, nil)
	if !ran {
		t.Error("the cleanup's job did not run")
	}
}
