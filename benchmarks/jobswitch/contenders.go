package main

import (
	"fmt"
	"iter"
	"runtime"
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// As in the C program.
const (
	batch  = 1000
	warmUp = 20 * batch
)

// measure returns the ns that one operation takes, of which do does n.
func measure(d time.Duration, do func(n int) error) (float64, error) {
	if err := do(warmUp); err != nil {
		return 0, err
	}
	n := 0
	begin := time.Now()
	for {
		if err := do(batch); err != nil {
			return 0, err
		}
		n += batch
		if elapsed := time.Since(begin); elapsed >= d {
			return float64(elapsed) / float64(n), nil
		}
	}
}

func goContenders() []*contender {
	return []*contender{
		{operation: resumePause, name: "two goroutines and channels", measure: channelHandOff},
		{operation: resumePause, name: "iter.Pull", measure: pullSwitch},
		{operation: resumePause, name: "jobs", measure: jobSwitch},
		{operation: resumePause, name: "jobs, locked to a thread", measure: locked(jobSwitch)},
		{operation: startFinish, name: "a new goroutine and a channel", measure: goroutineStart},
		{operation: startFinish, name: "a new iter.Pull", measure: pullStart},
		{operation: startFinish, name: "jobs", measure: jobStart},
		{operation: startFinish, name: "jobs, locked to a thread", measure: locked(jobStart)},
	}
}

// locked measures on a locked thread, which is where a loop runs its jobs.
func locked(measure func(time.Duration) (float64, error)) func(time.Duration) (float64, error) {
	return func(d time.Duration) (float64, error) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return measure(d)
	}
}

func channelHandOff(d time.Duration) (float64, error) {
	resume, pause := make(chan struct{}), make(chan struct{})
	defer close(resume)
	go func() {
		for range resume {
			pause <- struct{}{}
		}
	}()
	return measure(d, func(n int) error {
		for range n {
			resume <- struct{}{}
			<-pause
		}
		return nil
	})
}

func goroutineStart(d time.Duration) (float64, error) {
	done := make(chan struct{})
	return measure(d, func(n int) error {
		for range n {
			go func() { done <- struct{}{} }()
			<-done
		}
		return nil
	})
}

func pullSwitch(d time.Duration) (float64, error) {
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		for yield(struct{}{}) {
		}
	})
	defer stop()
	return measure(d, func(n int) error {
		for range n {
			next()
		}
		return nil
	})
}

func pullStart(d time.Duration) (float64, error) {
	return measure(d, func(n int) error {
		for range n {
			next, _ := iter.Pull(func(func(struct{}) bool) {})
			next()
		}
		return nil
	})
}

// The jobs get a WaitCtx because those of OpenSSL must have one.

func jobSwitch(d time.Duration) (float64, error) {
	p, err := jobs.NewPool(0, 1)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	j, st, err := p.Start(waitctx.New(), func(j jobs.Job) error {
		for j.Pause() == nil {
		}
		return nil
	})
	if st != jobs.StatusPaused {
		return 0, fmt.Errorf("start: %v, %w", st, err)
	}
	defer j.Cancel()
	return measure(d, func(n int) error {
		for range n {
			if st, err := j.Resume(); st != jobs.StatusPaused {
				return fmt.Errorf("resume: %v, %w", st, err)
			}
		}
		return nil
	})
}

func jobStart(d time.Duration) (float64, error) {
	p, err := jobs.NewPool(0, 1)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	w := waitctx.New()
	nothing := func(jobs.Job) error { return nil }
	return measure(d, func(n int) error {
		for range n {
			if _, st, err := p.Start(w, nothing); st != jobs.StatusFinished {
				return fmt.Errorf("start: %v, %w", st, err)
			}
		}
		return nil
	})
}
