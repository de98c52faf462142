package jobs_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// newPool returns a pool that is emptied and closed when the test ends, which
// then also proves that no goroutine of the pool is left.
func newPool(t *testing.T, maxSize, initSize int) *jobs.Pool {
	t.Helper()
	before := runtime.NumGoroutine()
	p, err := jobs.NewPool(maxSize, initSize)
	if err != nil {
		t.Fatalf("NewPool(%d, %d): %v", maxSize, initSize, err)
	}
	t.Cleanup(func() {
		p.CancelAll() // its error is of interest to few tests
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantGoroutines(t, before)
	})
	return p
}

// wantGoroutines waits until no more than n goroutines are left.
func wantGoroutines(t *testing.T, n int) {
	t.Helper()
	// One that ends may not be gone yet.
	testkit.Eventually(t, fmt.Sprintf("%d goroutines", n), func() bool { return runtime.NumGoroutine() <= n })
}

// startPaused starts fn, which must pause.
func startPaused(t *testing.T, p *jobs.Pool, fn func(jobs.Job) error) jobs.Job {
	t.Helper()
	j, st, err := p.Start(nil, fn)
	want(t, st, err, jobs.StatusPaused, nil)
	return j
}

// want compares what Start, Resume or Cancel returned.
func want(t *testing.T, st jobs.Status, err error, wantStatus jobs.Status, wantErr error) {
	t.Helper()
	if st != wantStatus || !errors.Is(err, wantErr) {
		t.Fatalf("%v, error %v, want %v, error %v", st, err, wantStatus, wantErr)
	}
}

// wantUsable proves that the pool runs a job that pauses and finishes.
func wantUsable(t *testing.T, p *jobs.Pool) {
	t.Helper()
	j := startPaused(t, p, pauseOnce)
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
}

func pauseOnce(j jobs.Job) error { return j.Pause() }

func nothing(jobs.Job) error { return nil }
