//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file says what the kernel knows of another process: its CPU time,
// memory, descriptors and context switches, and on which core it runs.

// tick is the unit of CPU time in /proc, USER_HZ: the same on every architecture
// that Go runs on.
const tick = time.Second / 100

// cpuTime returns the CPU time a process has used, with the threads that have
// ended. It asks the process's CPU clock, which counts nanoseconds where
// /proc/PID/stat counts hundredths of a second; the clock's number is made from
// the process's as clock_getcpuclockid(3) does.
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// familyCPU returns the CPU time of a process and of its children, such as the
// workers of nginx. Those that have ended are not counted.
func familyCPU(pid int) (time.Duration, error) {
	total, err := cpuTime(pid)
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
		t, err := cpuTime(child)
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total, nil
}

// userAndSystem returns CPU time by where it was spent.
func userAndSystem(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(b)
}

// parseStat reads utime and stime, fields 14 and 15 of /proc/PID/stat (proc(5)).
// The second field, the program's name, may have anything in it but ends with
// the last parenthesis.
func parseStat(b []byte) (user, system time.Duration, err error) {
	i := bytes.LastIndexByte(b, ')')
	fields := bytes.Fields(b[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, 0, fmt.Errorf("/proc/PID/stat is %q", b)
	}
	var ticks [2]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(string(fields[11+i]), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
	}
	return time.Duration(ticks[0]) * tick, time.Duration(ticks[1]) * tick, nil
}

// rss returns the resident memory of a process in bytes.
func rss(pid int) (int64, error) { return memory(pid, "VmRSS") }

// peakRSS returns the most resident memory a process has had, in bytes.
func peakRSS(pid int) (int64, error) { return memory(pid, "VmHWM") }

func memory(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kb, err := statusField(b, field)
	return kb << 10, err
}

// statusField reads a number from /proc/PID/status.
func statusField(status []byte, name string) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key != name {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/status: %s: %w", name, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("/proc/PID/status has no %s", name)
}

// settledRSS waits until a process's memory has been within 1 % for three
// seconds, or until limit has passed: a garbage-collected server gives memory
// back in the background.
func settledRSS(ctx context.Context, pid int, limit time.Duration) (int64, error) {
	const still, step = 3 * time.Second, 200 * time.Millisecond
	end := time.Now().Add(limit)
	ref, err := rss(pid)
	if err != nil {
		return 0, err
	}
	since := time.Now()
	for {
		if err := pause(ctx, step); err != nil {
			return 0, err
		}
		n, err := rss(pid)
		if err != nil {
			return 0, err
		}
		if diff := max(n-ref, ref-n); diff > ref/100 {
			ref, since = n, time.Now()
		}
		if time.Since(since) >= still || time.Now().After(end) {
			return n, nil
		}
	}
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
			n, err := statusField(b, name)
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

// coreTime returns for how long a core has been taken: by processes, by
// interrupts, and by the hypervisor for other machines (steal).
func coreTime(cpu int) (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseCoreTime(b, cpu)
}

// parseCoreTime reads a line like "cpu0 user nice system idle iowait irq softirq
// steal guest guest_nice"; the last two are in user and nice already.
func parseCoreTime(stat []byte, cpu int) (time.Duration, error) {
	name := fmt.Sprintf("cpu%d", cpu)
	for line := range bytes.Lines(stat) {
		fields := strings.Fields(string(line))
		if len(fields) < 9 || fields[0] != name {
			continue
		}
		total := time.Duration(0)
		for i, f := range fields[1:9] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			if i != 3 && i != 4 {
				total += time.Duration(n) * tick
			}
		}
		return total, nil
	}
	return 0, fmt.Errorf("/proc/stat has no %s", name)
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

// onCPU calls f on a thread that may run on one core only, for f to start a
// process, which inherits that. A negative number means any core.
func onCPU(cpu int, f func() error) error {
	if cpu < 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if !before.IsSet(cpu) {
		return fmt.Errorf("there is no core %d to run on", cpu)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	err := f()
	if rerr := unix.SchedSetaffinity(0, &before); err == nil {
		err = os.NewSyscallError("sched_setaffinity", rerr)
	}
	return err
}

// pause sleeps, unless ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
