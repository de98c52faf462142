//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"golang.org/x/sys/unix"
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

// How --server-cpu and --client-cpu name no core.
const (
	anyCPU     = -1
	defaultCPU = -2
)

// chooseCores fills in the cores that are not chosen: 0 and 1, and where one of
// these is not there, any. It says which are not. A core that is chosen must be
// there.
func (o *options) chooseCores() (notes []string, _ error) {
	var there unix.CPUSet
	if err := unix.SchedGetaffinity(0, &there); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	for _, c := range []struct {
		flag, who, others string
		cpu               *int
		first             int
	}{
		{"--server-cpu", "servers", "clients", &o.ServerCPU, 0},
		{"--client-cpu", "clients", "servers", &o.ClientCPU, 1},
	} {
		switch {
		case *c.cpu >= 0 && !there.IsSet(*c.cpu):
			return nil, fmt.Errorf("%s: there is no core %d to run on (-1 leaves it to the system)", c.flag, *c.cpu)
		case *c.cpu == defaultCPU && there.IsSet(c.first):
			*c.cpu = c.first
		case *c.cpu == defaultCPU:
			*c.cpu = anyCPU
			notes = append(notes, fmt.Sprintf("There is no core %d here: the %s run on any, and may take time from the %s.", c.first, c.who, c.others))
		case *c.cpu < anyCPU:
			return nil, fmt.Errorf("%s: there is no core %d", c.flag, *c.cpu)
		}
	}
	return notes, nil
}
