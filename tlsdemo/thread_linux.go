package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadID returns the kernel's ID of the calling thread.
func threadID() (id int, ok bool) { return unix.Gettid(), true }

// threadCPU returns the CPU time that the calling thread has used.
func threadCPU() (used time.Duration, ok bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
