//go:build linux

package scenario

import (
	"fmt"
	"iter"
	"runtime"
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// This file has the ways of Go to switch between two pieces of code, which the
// scenario jobswitch compares.

// As in the C program.
const (
	batch  = 1000
	warmUp = 20 * batch
)

// timeSwitch returns the ns that one operation takes, of which do does n.
func timeSwitch(d time.Duration, do func(n int) error) (float64, error) {
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

func goSwitches() []*switchWay {
	return []*switchWay{
		{Operation: resumePause, With: "two goroutines and channels", measure: channelHandOff},
		{Operation: resumePause, With: "iter.Pull", measure: pullSwitch},
		{Operation: resumePause, With: "jobs", measure: jobResume},
		{Operation: resumePause, With: "jobs, locked to a thread", measure: locked(jobResume)},
		{Operation: startFinish, With: "a new goroutine and a channel", measure: goroutineStart},
		{Operation: startFinish, With: "a new iter.Pull", measure: pullStart},
		{Operation: startFinish, With: "jobs", measure: jobStart},
		{Operation: startFinish, With: "jobs, locked to a thread", measure: locked(jobStart)},
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
	return timeSwitch(d, func(n int) error {
		for range n {
			resume <- struct{}{}
			<-pause
		}
		return nil
	})
}

func goroutineStart(d time.Duration) (float64, error) {
	done := make(chan struct{})
	return timeSwitch(d, func(n int) error {
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
	return timeSwitch(d, func(n int) error {
		for range n {
			next()
		}
		return nil
	})
}

func pullStart(d time.Duration) (float64, error) {
	return timeSwitch(d, func(n int) error {
		for range n {
			next, _ := iter.Pull(func(func(struct{}) bool) {})
			next()
		}
		return nil
	})
}

// The jobs get a WaitCtx because those of OpenSSL must have one.

func jobResume(d time.Duration) (float64, error) {
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
	return timeSwitch(d, func(n int) error {
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
	return timeSwitch(d, func(n int) error {
		for range n {
			if _, st, err := p.Start(w, nothing); st != jobs.StatusFinished {
				return fmt.Errorf("start: %v, %w", st, err)
			}
		}
		return nil
	})
}
