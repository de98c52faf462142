package jobs_test

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/jobs"
)

// A loop locks its goroutine to its thread, and its jobs must run on it.
func TestJobsRunOnTheLockedThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread) // after the pool's
	tid := unix.Gettid()
	p := newPool(t, 0, 1)

	// Other goroutines that want to run are what the scheduler would switch to.
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); others.Wait() }) // tests count goroutines

	check := func() {
		if got := unix.Gettid(); got != tid {
			t.Errorf("on thread %d, want %d", got, tid)
		}
	}
	var all []jobs.Job
	for range 3 { // one on the coroutine that is there, two on new ones
		all = append(all, startPaused(t, p, func(j jobs.Job) error {
			for range 100 {
				check()
				if err := j.Pause(); err != nil {
					return err
				}
				runtime.Gosched() // it must not move the job to another thread
			}
			check()
			return nil
		}))
	}
	for i := range 100 {
		wantStatus := jobs.StatusPaused
		if i == 99 {
			wantStatus = jobs.StatusFinished
		}
		for _, j := range all {
			st, err := j.Resume()
			want(t, st, err, wantStatus, nil)
			check()
		}
	}
}
