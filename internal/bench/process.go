//go:build linux

// Package bench is what the programs that measure have in common: what the
// kernel knows of a process and of a core, processes on a core of their own, and
// the tables of what came out.
package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// In this file: the CPU time and memory of another process, how long a core is
// taken, and on which core a process runs.

// tick is the unit of CPU time in /proc, USER_HZ: the same on every architecture
// that Go runs on.
const tick = time.Second / 100

// CPUTime returns the CPU time a process has used, with the threads that have
// ended. It asks the process's CPU clock, which counts nanoseconds where
// /proc/PID/stat counts hundredths of a second; the clock's number is made from
// the process's as clock_getcpuclockid(3) does.
func CPUTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// UserAndSystem returns CPU time by where it was spent.
func UserAndSystem(pid int) (user, system time.Duration, err error) {
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

// RSS returns the resident memory of a process in bytes.
func RSS(pid int) (int64, error) { return memory(pid, "VmRSS") }

// PeakRSS returns the most resident memory a process has had, in bytes.
func PeakRSS(pid int) (int64, error) { return memory(pid, "VmHWM") }

func memory(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kb, err := StatusField(b, field)
	return kb << 10, err
}

// StatusField reads a number from /proc/PID/status.
func StatusField(status []byte, name string) (int64, error) {
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

// SettledRSS waits until a process's memory has been within 1 % for three
// seconds, or until limit has passed: a garbage-collected server gives memory
// back in the background.
func SettledRSS(ctx context.Context, pid int, limit time.Duration) (int64, error) {
	const still, step = 3 * time.Second, 200 * time.Millisecond
	end := time.Now().Add(limit)
	ref, err := RSS(pid)
	if err != nil {
		return 0, err
	}
	since := time.Now()
	for {
		if err := Sleep(ctx, step); err != nil {
			return 0, err
		}
		n, err := RSS(pid)
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

// CoreTime returns for how long a core has been taken: by processes, by
// interrupts, and by the hypervisor for other machines (steal).
func CoreTime(cpu int) (time.Duration, error) {
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

// OnCPU calls f on a thread that may run on one core only, for f to start a
// process, which inherits that. A negative number means any core.
func OnCPU(cpu int, f func() error) error {
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

// Sleep sleeps, unless ctx is done.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
