//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file runs processes on a core of their own, and says what the kernel
// knows of them: their CPU time and memory.

// command returns the command that runs this program as one of its processes,
// and where its messages will be. With GOMAXPROCS=1 none has threads that only
// wait for the core.
func command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive this one
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr, nil
}

// ended makes the error of a process that has ended: what it wrote says why.
func ended(name string, err error, stderr *bytes.Buffer) error {
	if said := strings.TrimSpace(stderr.String()); said != "" {
		return fmt.Errorf("%s: %w\n%s", name, err, said[max(len(said)-4096, 0):])
	}
	return fmt.Errorf("%s: %w", name, err)
}

// runClient runs a client on a core, to its end, and decodes what it prints.
func runClient(ctx context.Context, cpu int, result any, args ...string) error {
	cmd, stderr, err := command(ctx, args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := onCPU(cpu, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return ended(args[0], err, stderr)
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("%s printed %.1000q: %w", args[0], out.Bytes(), err)
	}
	return nil
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
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("core %d: %w", cpu, os.NewSyscallError("sched_setaffinity", err))
	}
	err := f()
	return errors.Join(err, os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &before)))
}

// hasCPU says whether this process may run on a core.
func hasCPU(cpu int) (bool, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return false, os.NewSyscallError("sched_getaffinity", err)
	}
	return set.IsSet(cpu), nil
}

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

// rss returns the resident memory of a process in bytes.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseRSS(b)
}

// parseRSS reads VmRSS, of kilobytes, from /proc/PID/status.
func parseRSS(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		key, value, _ := strings.Cut(string(line), ":")
		if key != "VmRSS" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/status: VmRSS: %w", err)
		}
		return kb << 10, nil
	}
	return 0, errors.New("/proc/PID/status has no VmRSS")
}

// settledRSS waits until a process's memory has been within 1 % for three
// seconds, or until limit has passed: a garbage-collected server gives memory
// back in the background.
func settledRSS(ctx context.Context, pid int, limit time.Duration) (int64, error) {
	const still, step = 3 * time.Second, 200 * time.Millisecond
	begin := time.Now()
	since, ref := begin, int64(0)
	for {
		n, err := rss(pid)
		if err != nil {
			return 0, err
		}
		now := time.Now()
		if diff := max(n-ref, ref-n); diff > ref/100 {
			ref, since = n, now
		}
		if now.Sub(since) >= still || now.Sub(begin) >= limit {
			return n, nil
		}
		if err := pause(ctx, step); err != nil {
			return 0, err
		}
	}
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
	const tick = time.Second / 100 // USER_HZ, on every architecture that Go runs on
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

// watched is the process whose CPU time a client takes, as flags of the client.
type watched struct {
	PID  int `name:"pid"`
	Core int `default:"-1"` // the server's, if it has one to itself
}

func (w watched) args() []string {
	return []string{"--pid", strconv.Itoa(w.PID), fmt.Sprintf("--core=%d", w.Core)} // kong takes "--core -1" for two flags
}

// usage is what a server and the client have used up to a moment, or between
// two.
type usage struct {
	when    time.Time
	Elapsed time.Duration `json:"elapsed_ns"`
	Server  time.Duration `json:"server_cpu_ns"`
	Client  time.Duration `json:"client_cpu_ns"`
	core    time.Duration // for which the server's core was taken
	Other   time.Duration `json:"other_cpu_ns"` // that others took of the server's core
}

func (w watched) take() (u usage, err error) {
	if w.Core >= 0 {
		if u.core, err = coreTime(w.Core); err != nil {
			return u, err
		}
	}
	if u.Client, err = cpuTime(os.Getpid()); err != nil {
		return u, err
	}
	if u.Server, err = cpuTime(w.PID); err != nil {
		return u, err
	}
	u.when = time.Now()
	return u, nil
}

func (u usage) sub(before usage) usage {
	d := usage{Elapsed: u.when.Sub(before.when), Server: u.Server - before.Server, Client: u.Client - before.Client}
	if u.core > 0 {
		d.Other = max(u.core-before.core-d.Server, 0)
	}
	return d
}

// percentOf is a part of the time that was measured, in percent.
func (u usage) percentOf(d time.Duration) float64 {
	return 100 * d.Seconds() / u.Elapsed.Seconds()
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

// progress tells whoever waits what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
