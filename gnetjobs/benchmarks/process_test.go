//go:build linux

package main

import (
	"os"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// What is used between two moments is this process's: work must show, in both of
// its places here.
func TestUsage(t *testing.T) {
	w := watched{PID: os.Getpid(), Core: bench.AnyCPU}
	before, err := w.take()
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 20*time.Millisecond; {
	}
	after, err := w.take()
	if err != nil {
		t.Fatal(err)
	}
	u := after.sub(before)
	if u.Elapsed < 20*time.Millisecond || u.Server <= 0 || u.Client <= 0 || u.Other != 0 {
		t.Errorf("%+v", u)
	}
	if got := (usage{Elapsed: 4 * time.Second}).percentOf(time.Second); got != 25 {
		t.Errorf("one second of four is %v %%", got)
	}
	if _, err := (watched{PID: 1<<22 + 1, Core: bench.AnyCPU}).take(); err == nil {
		t.Error("no error of a process that is not there")
	}
}
