//go:build linux

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// This file reads what the kernel knows about another process: its CPU time,
// memory, descriptors and context switches; and for how long a core was busy.

// CPUTime returns the CPU time a process has used, with the threads that have
// ended. It asks the process's CPU clock, which counts nanoseconds where
// /proc/PID/stat counts hundredths of a second. The clock's number is made from
// the process's as clock_getcpuclockid(3) does.
func CPUTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// FamilyCPU returns the CPU time of a process and of the children that its first
// thread has started, such as the workers of nginx. Children that have ended are
// not counted.
func FamilyCPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	total, err := CPUTime(pid)
	for _, child := range strings.Fields(string(b)) {
		one, _ := strconv.Atoi(child) // the kernel writes numbers
		used, cerr := CPUTime(one)
		total, err = total+used, cmp.Or(err, cerr)
	}
	return total, err
}

// tick is the unit of CPU time in /proc, USER_HZ: the same on every architecture
// that Go runs on.
const tick = time.Second / 100

// userAndSystem returns CPU time by where it was spent.
func userAndSystem(pid int) (user, system time.Duration, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, err
	}
	s, err := p.Stat()
	return time.Duration(s.UTime) * tick, time.Duration(s.STime) * tick, err
}

func status(pid int) (procfs.ProcStatus, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStatus{}, err
	}
	return p.NewStatus()
}

// RSS returns the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	s, err := status(pid)
	return int64(s.VmRSS), err
}

// PeakRSS returns the most resident memory a process has had, in bytes.
func PeakRSS(pid int) (int64, error) {
	s, err := status(pid)
	return int64(s.VmHWM), err
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

// contextSwitches returns how often the threads of a process have left the CPU.
// Threads that have ended are not counted.
func contextSwitches(pid int) (int64, error) {
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for _, t := range threads {
		s, err := t.NewStatus()
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return 0, err
		}
		total += s.VoluntaryCtxtSwitches + s.NonVoluntaryCtxtSwitches
	}
	return int64(total), nil
}

// Descriptors returns how many files a process has open.
func Descriptors(pid int) (int, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	return p.FileDescriptorsLen()
}

// coreTime returns for how long a core has been busy: with processes, with
// interrupts, or taken by the hypervisor for other machines (steal). It is 0 if cpu
// is negative.
func coreTime(cpu int) (time.Duration, error) {
	if cpu < 0 {
		return 0, nil
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0, err
	}
	c, ok := stat.CPU[int64(cpu)]
	if !ok {
		return 0, fmt.Errorf("/proc/stat has no core %d", cpu)
	}
	// Guests are in user and nice already.
	return time.Duration((c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal) * float64(time.Second)), nil
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
