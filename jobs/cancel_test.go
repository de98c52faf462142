package jobs_test

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

func TestCancel(t *testing.T) {
	p := newPool(t, 0, 0)
	deferred := false
	j := startPaused(t, p, func(j jobs.Job) error {
		defer func() { deferred = true }()
		for range 3 { // every Pause says so, not just the first
			if err := j.Pause(); err != jobs.ErrCanceled {
				t.Errorf("Pause = %v, want %v", err, jobs.ErrCanceled)
			}
		}
		return io.EOF // the job's own answer passes
	})
	st, err := j.Cancel()
	want(t, st, err, jobs.StatusFinished, io.EOF)
	if !deferred {
		t.Error("Cancel returned before the deferred call had run")
	}
	wantUsable(t, p) // and its Pause returns nil again
}

func TestCanceledJobMayPanic(t *testing.T) {
	p := newPool(t, 0, 0)
	j := startPaused(t, p, func(j jobs.Job) error { panic(j.Pause()) })
	st, err := j.Cancel()
	want(t, st, err, jobs.StatusError, jobs.ErrCanceled)
	j = startPaused(t, p, func(j jobs.Job) error { j.Pause(); runtime.Goexit(); return nil })
	st, err = j.Cancel()
	want(t, st, err, jobs.StatusError, jobs.ErrGoexit)
}

// A job under cancellation that blocks pausing hears of it all the same.
func TestBlockPauseDoesNotHideCancel(t *testing.T) {
	p := newPool(t, 0, 0)
	j := startPaused(t, p, func(j jobs.Job) error {
		j.Pause()
		j.BlockPause()
		blocked := j.Pause()
		j.UnblockPause()
		if unblocked := j.Pause(); blocked != jobs.ErrCanceled || unblocked != jobs.ErrCanceled {
			t.Errorf("Pause = %v blocked, %v unblocked, want %v", blocked, unblocked, jobs.ErrCanceled)
		}
		return nil
	})
	st, err := j.Cancel()
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestCanceled(t *testing.T) {
	p := newPool(t, 0, 0)
	var before, after bool
	j := startPaused(t, p, func(j jobs.Job) error {
		before = j.Canceled()
		j.Pause()
		after = j.Canceled()
		return nil
	})
	if (jobs.Job{}).Canceled() || j.Canceled() {
		t.Error("Canceled is true of no job, or to a caller outside")
	}
	st, err := j.Cancel()
	want(t, st, err, jobs.StatusFinished, nil)
	if before || !after || j.Canceled() {
		t.Errorf("Canceled() = %v before, %v after, %v outside", before, after, j.Canceled())
	}
}

func TestStubbornJobIsEnded(t *testing.T) {
	forever := func(j jobs.Job) {
		for {
			j.Pause()
		}
	}
	tests := []struct {
		name   string
		fn     func(jobs.Job)
		status jobs.Status
		err    error
	}{
		{
			name:   "in its function",
			fn:     forever,
			status: jobs.StatusFinished,
			err:    jobs.ErrCanceled,
		},
		{
			name:   "in a deferred call",
			fn:     func(j jobs.Job) { defer forever(j); j.Pause() },
			status: jobs.StatusFinished,
			err:    jobs.ErrCanceled,
		},
		{
			name:   "in both",
			fn:     func(j jobs.Job) { defer forever(j); forever(j) },
			status: jobs.StatusFinished,
			err:    jobs.ErrCanceled,
		},
		{
			name:   "with pausing blocked",
			fn:     func(j jobs.Job) { j.Pause(); j.BlockPause(); forever(j) },
			status: jobs.StatusFinished,
			err:    jobs.ErrCanceled,
		},
		{
			name:   "and panics",
			fn:     func(j jobs.Job) { defer panicDeep(io.EOF); forever(j) },
			status: jobs.StatusError,
			err:    io.EOF,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, 1, 1)
			goroutines := runtime.NumGoroutine()
			deferred := 0
			j := startPaused(t, p, func(j jobs.Job) error {
				defer func() { deferred++ }()
				tt.fn(j)
				return nil
			})
			st, err := j.Cancel()
			want(t, st, err, tt.status, tt.err)
			if deferred != 1 {
				t.Errorf("the deferred call ran %d times, want 1", deferred)
			}
			wantGoroutines(t, goroutines-1)
			if got := p.Stats(); got.Canceled != 1 || got.Idle != 0 {
				t.Errorf("%+v, want 1 cancelled and no coroutine", got)
			}
			wantUsable(t, p)
		})
	}
}

// A job that pauses often on its way out is not stubborn, and what it used up
// of its thousand does not count against the next one.
func TestLongFarewell(t *testing.T) {
	p := newPool(t, 1, 1)
	for range 3 {
		j := startPaused(t, p, func(j jobs.Job) error {
			for range 800 {
				j.Pause()
			}
			return io.EOF
		})
		st, err := j.Cancel()
		want(t, st, err, jobs.StatusFinished, io.EOF)
	}
}

func TestCancelAll(t *testing.T) {
	p := newPool(t, 0, 0)
	if err := p.CancelAll(); err != nil {
		t.Errorf("CancelAll of an empty pool: %v", err)
	}

	var order []uint64
	body := func(j jobs.Job) error {
		err := j.Pause()
		order = append(order, j.ID())
		switch j.ID() {
		case 4:
			panic(io.ErrClosedPipe)
		case 5:
			runtime.Goexit()
		case 6:
			panic(io.ErrNoProgress)
		}
		return err
	}
	var all []jobs.Job
	for range 3 {
		all = append(all, startPaused(t, p, body))
	}
	all[0].Resume() // so that job 4 runs on an older coroutine than job 2
	order = nil
	for range 4 {
		all = append(all, startPaused(t, p, body))
	}

	err := p.CancelAll()
	for _, want := range []error{io.ErrClosedPipe, jobs.ErrGoexit, io.ErrNoProgress} {
		if !errors.Is(err, want) {
			t.Errorf("CancelAll: %v lacks %v", err, want)
		}
	}
	if errors.Is(err, jobs.ErrCanceled) || strings.Count(err.Error(), "job panicked") != 2 {
		t.Errorf("CancelAll: %v, want two panics and a Goexit alone", err)
	}
	if want := []uint64{2, 3, 4, 5, 6, 7}; !slices.Equal(order, want) {
		t.Errorf("cancelled in the order %v, want %v", order, want)
	}
	for _, j := range all {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusError, jobs.ErrFinished)
	}
	wantUsable(t, p)
}

func TestManyPausedJobs(t *testing.T) {
	n := 10_000
	if testkit.RaceEnabled {
		n = 1_000
	}
	p := newPool(t, 0, 0)
	canceled := 0
	for range n {
		startPaused(t, p, func(j jobs.Job) error {
			defer func() { canceled++ }()
			return j.Pause()
		})
	}
	if got := p.Stats().Paused; got != n {
		t.Errorf("%d paused, want %d", got, n)
	}
	if err := p.CancelAll(); err != nil {
		t.Errorf("CancelAll: %v", err)
	}
	if got := p.Stats(); canceled != n || got.Canceled != uint64(n) || got.Idle != n {
		t.Errorf("%d unwound, %+v, want %d", canceled, got, n)
	}
}
