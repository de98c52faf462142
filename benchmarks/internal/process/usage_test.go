//go:build linux

package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noPID is above the kernel's greatest.
const noPID = 1<<22 + 1

// work uses CPU time.
func work(t *testing.T) {
	t.Helper()
	before, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		if now, err := CPUTime(os.Getpid()); err != nil || now > before+20*time.Millisecond {
			return
		}
	}
}

// The two ways of asking the kernel for CPU time agree. /proc counts in ticks, and
// does not know of the tick that each thread is in.
func TestCPUTime(t *testing.T) {
	pid := os.Getpid()
	work(t)
	before, err := CPUTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	user, system, err := userAndSystem(pid)
	if err != nil {
		t.Fatal(err)
	}
	after, err := CPUTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	if sum := user + system; sum < before-20*tick || sum > after+tick {
		t.Errorf("/proc/PID/stat says %v, the clock %v and then %v", sum, before, after)
	}
}

func TestNoSuchProcess(t *testing.T) {
	for name, look := range map[string]func() error{
		"CPUTime":         func() error { _, err := CPUTime(noPID); return err },
		"FamilyCPU":       func() error { _, err := FamilyCPU(noPID); return err },
		"userAndSystem":   func() error { _, _, err := userAndSystem(noPID); return err },
		"RSS":             func() error { _, err := RSS(noPID); return err },
		"PeakRSS":         func() error { _, err := PeakRSS(noPID); return err },
		"SettledRSS":      func() error { _, err := SettledRSS(context.Background(), noPID, 0); return err },
		"contextSwitches": func() error { _, err := contextSwitches(noPID); return err },
		"Descriptors":     func() error { _, err := Descriptors(noPID); return err },
		"TakeUsage":       func() error { _, err := TakeUsage(noPID, AnyCPU); return err },
		"coreTime":        func() error { _, err := coreTime(noPID); return err },
	} {
		if look() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A family's CPU time has that of the children.
func TestFamilyCPU(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; echo; exec cat'; :")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil { // the child has worked, and its parent waits
		t.Fatal(err)
	}
	parent, err := CPUTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if family, err := FamilyCPU(cmd.Process.Pid); err != nil || family <= parent {
		t.Errorf("the family used %v, the parent %v (%v)", family, parent, err)
	}
}

func TestMemory(t *testing.T) {
	pid := os.Getpid()
	rss, err := RSS(pid)
	if rss < 1<<20 || err != nil {
		t.Errorf("RSS = %d, %v", rss, err)
	}
	if n, err := PeakRSS(pid); n < rss || err != nil {
		t.Errorf("PeakRSS = %d, %v, after RSS = %d", n, err, rss)
	}
	if n, err := SettledRSS(t.Context(), pid, time.Millisecond); n < 1<<20 || err != nil {
		t.Errorf("SettledRSS = %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SettledRSS(ctx, pid, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("SettledRSS after its context: error %v", err)
	}
}

func TestLooksAtAProcess(t *testing.T) {
	pid := os.Getpid()
	if n, err := contextSwitches(pid); n == 0 || err != nil {
		t.Errorf("contextSwitches = %d, %v", n, err)
	}
	before, err := Descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := Descriptors(pid); n != before+1 || err != nil {
		t.Errorf("Descriptors = %d, %v, want %d", n, err, before+1)
	}
}

// A core is taken more and more while something runs on it.
func TestCoreTime(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	core := 0
	for !allowed.IsSet(core) {
		core++
	}
	before, err := coreTime(core)
	if err != nil {
		t.Fatal(err)
	}
	if err := OnCPU(core, func() error { work(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if after, err := coreTime(core); err != nil || after <= before {
		t.Errorf("core %d was taken for %v, then %v (%v)", core, before, after, err)
	}
	if n, err := coreTime(AnyCPU); n != 0 || err != nil {
		t.Errorf("no core was taken for %v, %v", n, err)
	}
}

// A process that is started on a core may run on that one only, and this one
// where it could before.
func TestOnCPU(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := OnCPU(cpu, cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	var of, one, after unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedGetaffinity(cmd.Process.Pid, &of); err != nil || of != one {
		t.Errorf("the process may run on %v, want %v (%v)", of, one, err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("this process may run on %v, want %v (%v)", after, before, err)
	}
	if err := OnCPU(1023, func() error { t.Error("called"); return nil }); err == nil {
		t.Error("no error of a core that is not there")
	}
}
