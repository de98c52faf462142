package jobs_test

import (
	"context"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

// On a goroutine that a job has started, nothing takes it for the job, though
// the job itself runs: a pause there would end the process.
func TestOutsideOnAnotherGoroutine(t *testing.T) {
	p := newPool(t, 0, 0)
	_, st, err := p.Start(nil, func(j jobs.Job) error {
		ctx := jobs.NewContext(context.Background(), j)
		inside := func() (n int) {
			if j.Inside() {
				n++
			}
			if _, ok := jobs.FromContext(ctx); ok {
				n++
			}
			if c, ok := jobs.Current(); ok && c == j {
				n++
			}
			return n
		}
		if n := inside(); n != 3 {
			t.Errorf("in the job, %d of 3 ways find it", n)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			if n := inside(); n != 0 {
				t.Errorf("on another goroutine, %d of 3 ways find it", n)
			}
			if err := j.Pause(); err != nil {
				t.Errorf("Pause on another goroutine: %v", err)
			}
			j.BlockPause() // which has no effect either
		}()
		<-done
		if j.PauseBlocked() {
			t.Error("pausing was blocked by another goroutine")
		}
		return nil
	})
	if st != jobs.StatusFinished || err != nil {
		t.Errorf("%v, %v", st, err)
	}
	if _, ok := jobs.Current(); ok {
		t.Error("Current finds a job that has ended")
	}
}

// A job inside another pool's job is the one that the caller is inside.
func TestCurrentNested(t *testing.T) {
	outer := newPool(t, 0, 0)
	inner, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	outer.Start(nil, func(o jobs.Job) error {
		inner.Start(nil, func(i jobs.Job) error {
			if c, ok := jobs.Current(); !ok || c != i || o.Inside() {
				t.Errorf("in the inner job, Current is job %d, and the outer job is inside: %t", c.ID(), o.Inside())
			}
			return nil
		})
		if c, ok := jobs.Current(); !ok || c != o {
			t.Errorf("in the outer job, Current is job %d", c.ID())
		}
		return inner.Close()
	})
}

func TestResumes(t *testing.T) {
	p := newPool(t, 0, 0)
	j, _, _ := p.Start(nil, func(j jobs.Job) error {
		for range 3 {
			j.Pause()
		}
		return nil
	})
	for i := range 3 {
		if n := j.Resumes(); n != uint64(i) {
			t.Errorf("%d resumes, want %d", n, i)
		}
		j.Resume()
	}
	if n := j.Resumes(); n != 0 {
		t.Errorf("%d resumes of a job that has finished", n)
	}
}
