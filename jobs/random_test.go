package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

// A life is what a job will do: pause some times, and end.
type life struct {
	job    jobs.Job
	pauses int // still to come
	end    func() error
	status jobs.Status // that it ends with
}

var ends = []struct {
	end    func() error
	status jobs.Status
}{
	{func() error { return nil }, jobs.StatusFinished},
	{func() error { panic("end") }, jobs.StatusError},
	{func() error { runtime.Goexit(); return nil }, jobs.StatusError},
}

func (l *life) run(j jobs.Job) error {
	for range l.pauses {
		if err := j.Pause(); err != nil {
			return err
		}
	}
	return l.end()
}

// TestRandomLives starts, resumes and cancels jobs at random, and compares the
// pool with what it should then be.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			randomLives(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func randomLives(t *testing.T, rnd *rand.Rand) {
	const maxSize = 8
	p := newPool(t, maxSize, rnd.IntN(maxSize+1))
	var paused []*life
	var stats jobs.Stats

	ended := func(status jobs.Status) {
		stats.Finished++
		if status == jobs.StatusError {
			stats.Panicked++
		}
	}
	for range 300 {
		if rnd.IntN(3) == 0 {
			end := ends[rnd.IntN(len(ends))]
			l := &life{pauses: rnd.IntN(4), end: end.end, status: end.status}
			wantStatus := jobs.StatusPaused
			switch {
			case len(paused) == maxSize:
				wantStatus = jobs.StatusNoJobs
			case l.pauses == 0:
				wantStatus = l.status
			}
			j, st, err := p.Start(nil, l.run)
			if st != wantStatus {
				t.Fatalf("Start: %v, %v, want %v", st, err, wantStatus)
			}
			l.job = j
			switch st {
			case jobs.StatusNoJobs:
			case jobs.StatusPaused:
				stats.Started++
				paused = append(paused, l)
			default:
				stats.Started++
				ended(st)
			}
		} else if len(paused) > 0 {
			i := rnd.IntN(len(paused))
			l := paused[i]
			if rnd.IntN(4) == 0 {
				st, err := l.job.Cancel()
				want(t, st, err, jobs.StatusFinished, jobs.ErrCanceled)
				stats.Canceled++
				ended(st)
				paused = slices.Delete(paused, i, i+1)
			} else {
				l.pauses--
				wantStatus := jobs.StatusPaused
				if l.pauses == 0 {
					wantStatus = l.status
				}
				st, err := l.job.Resume()
				if st != wantStatus {
					t.Fatalf("Resume: %v, %v, want %v", st, err, wantStatus)
				}
				if st != jobs.StatusPaused {
					ended(st)
					paused = slices.Delete(paused, i, i+1)
				}
			}
		}
		got := p.Stats()
		stats.Paused, stats.Idle = len(paused), got.Idle
		if got != stats || got.Paused+got.Idle > maxSize {
			t.Fatalf("%+v, want %+v in at most %d coroutines", got, stats, maxSize)
		}
	}
}
