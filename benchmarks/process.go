//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file says what the kernel knows of another process beyond what package
// bench does: its children's CPU time, descriptors and context switches; and on
// which cores the processes run.

// familyCPU returns the CPU time of a process and of its children, such as the
// workers of nginx. Those that have ended are not counted.
func familyCPU(pid int) (time.Duration, error) {
	total, err := bench.CPUTime(pid)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, f := range strings.Fields(string(b)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("children of process %d are %q: %w", pid, b, err)
		}
		t, err := bench.CPUTime(child)
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total, nil
}

// contextSwitches returns how often the threads of a process have left the CPU.
// Those of threads that have ended are not counted.
func contextSwitches(pid int) (int64, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, t := range threads {
		b, err := os.ReadFile(dir + "/" + t.Name() + "/status")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return 0, err
		}
		for _, name := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
			n, err := bench.StatusField(b, name)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// descriptors returns how many files a process has open.
func descriptors(pid int) (int, error) {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(d), err
}
