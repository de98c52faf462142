package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jobloop/jobloop/jobs"
)

// Two jobs share a goroutine. Each runs until it pauses, and goes on when it is
// resumed.
func ExamplePool() {
	pool, err := jobs.NewPool(0, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	count := func(name string) func(jobs.Job) error {
		return func(j jobs.Job) error {
			for i := 1; i <= 2; i++ {
				fmt.Println(name, i)
				if err := j.Pause(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var paused []jobs.Job
	for _, name := range []string{"a", "b"} {
		j, st, err := pool.Start(nil, count(name))
		if st != jobs.StatusPaused {
			fmt.Println(st, err)
			return
		}
		paused = append(paused, j)
	}
	for len(paused) > 0 {
		j := paused[0]
		paused = paused[1:]
		if st, _ := j.Resume(); st == jobs.StatusPaused {
			paused = append(paused, j)
		}
	}
	// Output:
	// a 1
	// b 1
	// a 2
	// b 2
}

// A full pool is no failure: the work is kept and started when a job has
// finished.
func ExamplePool_Start_full() {
	pool, _ := jobs.NewPool(1, 0)
	defer pool.Close()

	first, _, _ := pool.Start(nil, func(j jobs.Job) error { return j.Pause() })
	second := func(jobs.Job) error { return nil }
	_, st, err := pool.Start(nil, second)
	fmt.Println(st, errors.Is(err, jobs.ErrNoJobs))

	first.Resume()
	_, st, err = pool.Start(nil, second)
	fmt.Println(st, err)
	// Output:
	// no jobs true
	// finished <nil>
}

// A pool with paused jobs does not close until they are done or cancelled.
func ExamplePool_CancelAll() {
	pool, _ := jobs.NewPool(0, 0)
	pool.Start(nil, func(j jobs.Job) error {
		defer fmt.Println("the job's deferred calls run")
		return j.Pause()
	})

	fmt.Println(pool.Close())
	fmt.Println(pool.CancelAll())
	fmt.Println(pool.Close())
	// Output:
	// jobs: jobs outstanding: 1 paused
	// the job's deferred calls run
	// <nil>
	// <nil>
}

// Whoever pauses looks again when it goes on: a resume says that there may be
// something, not that there is.
func ExampleJob() {
	pool, _ := jobs.NewPool(0, 0)
	defer pool.Close()

	var inbox []string
	j, _, _ := pool.Start(nil, func(j jobs.Job) error {
		for len(inbox) == 0 {
			if err := j.Pause(); err != nil {
				return err
			}
		}
		fmt.Println("got", inbox[0])
		return nil
	})
	fmt.Println(j.Resume()) // for nothing
	inbox = append(inbox, "a letter")
	fmt.Println(j.Resume())
	// Output:
	// paused <nil>
	// got a letter
	// finished <nil>
}

// A library that holds something over a call, a lock for example, keeps the
// job from pausing meanwhile.
func ExampleJob_BlockPause() {
	pool, _ := jobs.NewPool(0, 0)
	defer pool.Close()

	_, st, err := pool.Start(nil, func(j jobs.Job) error {
		j.BlockPause()
		defer j.UnblockPause()
		return j.Pause() // returns at once
	})
	fmt.Println(st, err)
	// Output: finished <nil>
}

// The code between the job's function and the one that pauses need not know of
// jobs: a context carries the handle through it.
func ExampleFromContext() {
	pool, _ := jobs.NewPool(0, 0)
	defer pool.Close()

	signed := false
	sign := func(ctx context.Context) error {
		j, ok := jobs.FromContext(ctx)
		if !ok {
			return errors.New("not in a job")
		}
		for !signed {
			if err := j.Pause(); err != nil {
				return err
			}
		}
		return nil
	}
	j, st, _ := pool.Start(nil, func(j jobs.Job) error {
		return sign(jobs.NewContext(context.Background(), j))
	})
	fmt.Println(st)
	signed = true
	fmt.Println(j.Resume())
	fmt.Println(sign(context.Background()))
	// Output:
	// paused
	// finished <nil>
	// not in a job
}

// The status says what has become of the job; the error is for reading.
func ExampleStatus() {
	pool, _ := jobs.NewPool(1, 0)
	defer pool.Close()

	report := func(st jobs.Status, err error) {
		switch st {
		case jobs.StatusPaused:
			fmt.Println("keep the handle, and resume it")
		case jobs.StatusFinished:
			fmt.Println("the function returned:", err)
		case jobs.StatusNoJobs:
			fmt.Println("start it again later")
		case jobs.StatusError:
			fmt.Println("it failed:", err)
		}
	}
	j, st, err := pool.Start(nil, func(j jobs.Job) error {
		j.Pause()
		return errors.New("no such host")
	})
	report(st, err)
	_, st, err = pool.Start(nil, func(jobs.Job) error { return nil })
	report(st, err)
	report(j.Resume())
	report(j.Resume())
	// Output:
	// keep the handle, and resume it
	// start it again later
	// the function returned: no such host
	// it failed: jobs: job has finished
}

// A job that panics fails alone, and says where.
func ExamplePanicError() {
	pool, _ := jobs.NewPool(0, 0)
	defer pool.Close()

	var none []error
	_, st, err := pool.Start(nil, func(jobs.Job) error { return none[len(none)] })
	var pe *jobs.PanicError
	if errors.As(err, &pe) {
		fmt.Println(st, pe.Value)
		fmt.Println(strings.Contains(string(pe.Stack), "ExamplePanicError"))
	}
	// Output:
	// error runtime error: index out of range [0] with length 0
	// true
}

func ExampleStats() {
	pool, _ := jobs.NewPool(0, 4)
	defer pool.Close()

	pause := func(j jobs.Job) error { return j.Pause() }
	a, _, _ := pool.Start(nil, pause)
	b, _, _ := pool.Start(nil, pause)
	pool.Start(nil, pause)
	a.Resume()
	b.Cancel()
	s := pool.Stats()
	fmt.Printf("%d started, %d finished (%d cancelled), %d paused, %d idle\n",
		s.Started, s.Finished, s.Canceled, s.Paused, s.Idle)
	pool.CancelAll()
	// Output: 3 started, 2 finished (1 cancelled), 1 paused, 3 idle
}
