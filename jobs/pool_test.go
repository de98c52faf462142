package jobs_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

func TestCapable(t *testing.T) {
	if !jobs.Capable() {
		t.Error("Capable = false")
	}
}

func TestNewPoolSizes(t *testing.T) {
	tests := []struct {
		maxSize, initSize int
		names             string // in the error; empty if there is none
	}{
		{0, 0, ""},
		{0, 3, ""},
		{3, 0, ""},
		{3, 3, ""},
		{3, 4, "max 3, init 4"},
		{-1, 0, "max -1, init 0"},
		{0, -1, "max 0, init -1"},
		{-2, -3, "max -2, init -3"},
	}
	for _, tt := range tests {
		p, err := jobs.NewPool(tt.maxSize, tt.initSize)
		if tt.names != "" {
			if !errors.Is(err, jobs.ErrInvalidPoolSize) || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("NewPool(%d, %d): error %v, want %v with %q",
					tt.maxSize, tt.initSize, err, jobs.ErrInvalidPoolSize, tt.names)
			}
			continue
		}
		if err != nil {
			t.Errorf("NewPool(%d, %d): %v", tt.maxSize, tt.initSize, err)
			continue
		}
		if got := p.Stats(); got != (jobs.Stats{Idle: tt.initSize}) {
			t.Errorf("NewPool(%d, %d) has %+v", tt.maxSize, tt.initSize, got)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close of an unused pool: %v", err)
		}
	}
}

func TestStartWithoutFunction(t *testing.T) {
	p := newPool(t, 0, 0)
	j, st, err := p.Start(nil, nil)
	want(t, st, err, jobs.StatusError, jobs.ErrNoFunc)
	if j != (jobs.Job{}) {
		t.Error("Start returned a job")
	}
	wantUsable(t, p)
}

func TestPoolFull(t *testing.T) {
	p := newPool(t, 2, 0)
	first, second := startPaused(t, p, pauseOnce), startPaused(t, p, pauseOnce)
	for range 2 { // refused as often as one asks
		j, st, err := p.Start(nil, func(jobs.Job) error {
			t.Error("a full pool ran a job")
			return nil
		})
		want(t, st, err, jobs.StatusNoJobs, jobs.ErrNoJobs)
		if j != (jobs.Job{}) {
			t.Error("a full pool returned a job")
		}
	}

	ends := []func() (jobs.Status, error){first.Resume, second.Cancel}
	for _, end := range ends {
		if st, _ := end(); st != jobs.StatusFinished {
			t.Fatalf("job ended with %v", st)
		}
		startPaused(t, p, pauseOnce)
		_, st, err := p.Start(nil, nothing)
		want(t, st, err, jobs.StatusNoJobs, jobs.ErrNoJobs)
	}
}

// However a job ends, its place is free at once.
func TestPoolFullUntilAJobFails(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("end") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 1, 0)
			j := startPaused(t, p, func(j jobs.Job) error {
				j.Pause()
				end()
				return nil
			})
			_, st, err := p.Start(nil, nothing)
			want(t, st, err, jobs.StatusNoJobs, jobs.ErrNoJobs)
			if st, _ := j.Resume(); st != jobs.StatusError {
				t.Fatalf("job ended with %v", st)
			}
			wantUsable(t, p)
		})
	}
}

func TestNested(t *testing.T) {
	p := newPool(t, 0, 0)
	otherSteps := 0
	other := startPaused(t, p, func(j jobs.Job) error {
		otherSteps++
		err := j.Pause()
		otherSteps++
		return err
	})
	j := startPaused(t, p, func(j jobs.Job) error {
		nested := map[string]func() (jobs.Status, error){
			"Start": func() (jobs.Status, error) {
				j, st, err := p.Start(nil, nothing)
				if j != (jobs.Job{}) {
					t.Error("a nested Start returned a job")
				}
				return st, err
			},
			"Resume":         other.Resume,
			"Cancel":         other.Cancel,
			"Resume of self": j.Resume,
			"Cancel of self": j.Cancel,
			"CancelAll":      func() (jobs.Status, error) { return jobs.StatusError, p.CancelAll() },
			"Close":          func() (jobs.Status, error) { return jobs.StatusError, p.Close() },
		}
		for name, call := range nested {
			if st, err := call(); st != jobs.StatusError || err != jobs.ErrNested {
				t.Errorf("nested %s = %v, %v, want error, %v", name, st, err, jobs.ErrNested)
			}
			if p.Current() != j {
				t.Errorf("nested %s changed the running job", name)
			}
		}
		if err := j.Pause(); err != nil { // it can still pause, and is not cancelled
			t.Errorf("Pause: %v", err)
		}
		return nil
	})
	if otherSteps != 1 {
		t.Errorf("the other job made %d steps, want 1", otherSteps)
	}
	for _, j := range []jobs.Job{j, other} {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusFinished, nil)
	}
}

// Nesting concerns one pool: a job may be the goroutine that runs another.
func TestPoolInsideAJob(t *testing.T) {
	outer := newPool(t, 0, 0)
	j := startPaused(t, outer, func(j jobs.Job) error {
		inner, err := jobs.NewPool(0, 0)
		if err != nil {
			return err
		}
		k := startPaused(t, inner, pauseOnce)
		if err := j.Pause(); err != nil {
			return err
		}
		if st, err := k.Resume(); st != jobs.StatusFinished {
			t.Errorf("inner job: %v, %v", st, err)
		}
		return inner.Close()
	})
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestCurrent(t *testing.T) {
	p := newPool(t, 0, 0)
	wantNone := func(when string) {
		t.Helper()
		if p.Current() != (jobs.Job{}) {
			t.Errorf("%s: Current is a job", when)
		}
	}
	body := func(j jobs.Job) error {
		for range 2 {
			if p.Current() != j {
				t.Error("Current is not the job that runs")
			}
			j.Pause()
		}
		panic("end")
	}
	wantNone("new pool")
	a, b := startPaused(t, p, body), startPaused(t, p, body)
	wantNone("paused")
	for _, j := range []jobs.Job{a, b, b, a} {
		j.Resume()
		wantNone("after a resume")
	}
}

func TestCloseWithPausedJobs(t *testing.T) {
	p := newPool(t, 0, 4)
	j := startPaused(t, p, pauseOnce)
	for range 2 {
		startPaused(t, p, pauseOnce)
	}
	before, goroutines := p.Stats(), runtime.NumGoroutine()
	err := p.Close()
	if !errors.Is(err, jobs.ErrJobsOutstanding) || !strings.Contains(err.Error(), "3") {
		t.Fatalf("Close with 3 paused jobs: %v", err)
	}
	if after := p.Stats(); after != before || runtime.NumGoroutine() != goroutines {
		t.Errorf("the refused Close changed the pool from %+v to %+v", before, after)
	}
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
	wantUsable(t, p)

	if err := p.Close(); !errors.Is(err, jobs.ErrJobsOutstanding) || !strings.Contains(err.Error(), "2") {
		t.Errorf("Close with 2 paused jobs: %v", err)
	}
	if err := p.CancelAll(); err != nil {
		t.Errorf("CancelAll: %v", err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if got := p.Stats(); got.Idle != 0 || got.Paused != 0 {
		t.Errorf("a closed pool has %+v", got)
	}
}

func TestClosedPool(t *testing.T) {
	p := newPool(t, 0, 1)
	stale, _, _ := p.Start(nil, nothing)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	j, st, err := p.Start(nil, nothing)
	want(t, st, err, jobs.StatusError, jobs.ErrPoolClosed)
	if j != (jobs.Job{}) {
		t.Error("a closed pool returned a job")
	}
	st, err = stale.Resume()
	want(t, st, err, jobs.StatusError, jobs.ErrFinished)
	if err := p.CancelAll(); err != nil {
		t.Errorf("CancelAll of a closed pool: %v", err)
	}
	p.Trim(0)
}

func TestTrim(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPool(t, 0, 6)
	held := startPaused(t, p, pauseOnce)
	for _, step := range []struct{ keep, idle int }{{10, 5}, {5, 5}, {2, 2}, {0, 0}, {0, 0}, {-1, 0}} {
		p.Trim(step.keep)
		if got := p.Stats(); got.Idle != step.idle || got.Paused != 1 {
			t.Errorf("after Trim(%d): %+v, want %d idle and 1 paused", step.keep, got, step.idle)
		}
		wantGoroutines(t, before+step.idle+1)
	}
	wantUsable(t, p)
	st, err := held.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
	p.Trim(-1)
	if got := p.Stats().Idle; got != 0 {
		t.Errorf("%d idle after Trim(-1)", got)
	}
}

func TestTrimInsideAJob(t *testing.T) {
	p := newPool(t, 0, 2)
	_, st, err := p.Start(nil, func(jobs.Job) error {
		p.Trim(0)
		if got := p.Stats().Idle; got != 1 {
			t.Errorf("%d idle, want 1", got)
		}
		return nil
	})
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestStats(t *testing.T) {
	p := newPool(t, 0, 1)
	check := func(when string, want jobs.Stats) {
		t.Helper()
		if got := p.Stats(); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
	}
	a := startPaused(t, p, func(j jobs.Job) error {
		check("in the first job", jobs.Stats{Running: 1, Started: 1})
		return j.Pause()
	})
	check("one paused", jobs.Stats{Paused: 1, Started: 1})
	b := startPaused(t, p, pauseOnce)
	c := startPaused(t, p, func(j jobs.Job) error {
		check("in the third job", jobs.Stats{Running: 1, Paused: 2, Started: 3})
		j.Pause()
		runtime.Goexit()
		return nil
	})
	a.Resume()
	check("one finished", jobs.Stats{Paused: 2, Idle: 1, Started: 3, Finished: 1})
	b.Cancel()
	check("one cancelled", jobs.Stats{Paused: 1, Idle: 2, Started: 3, Finished: 2, Canceled: 1})
	c.Resume()
	check("one in Goexit", jobs.Stats{Idle: 2, Started: 3, Finished: 3, Canceled: 1, Panicked: 1})
	p.Start(nil, func(jobs.Job) error { panic("end") })
	check("one panicked", jobs.Stats{Idle: 2, Started: 4, Finished: 4, Canceled: 1, Panicked: 2})
	p.Start(nil, nil)
	check("one refused", jobs.Stats{Idle: 2, Started: 4, Finished: 4, Canceled: 1, Panicked: 2})
}
