//go:build linux

package bench

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c) S 1 42 42 0 -1 4194560 311 0 0 0 1234 56 7 8 20 0 5 0 100 1 2 3\n"
	user, system, err := parseStat([]byte(line))
	if err != nil || user != 12340*time.Millisecond || system != 560*time.Millisecond {
		t.Errorf("%v, %v, %v, want 12.34s, 560ms", user, system, err)
	}
	for _, bad := range []string{"", "42 (x) S 1 2", strings.Replace(line, "1234", "x", 1), "42 S 1 42 42 0 -1 4194560 311 0 0 0 1 5 7 8"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

func TestStatusField(t *testing.T) {
	status := []byte("Name:\tVmRSS\nVmRSS:\t   20480 kB\nvoluntary_ctxt_switches:\t17\nThreads:\tmany\n")
	for name, want := range map[string]int64{"VmRSS": 20480, "voluntary_ctxt_switches": 17} {
		if got, err := StatusField(status, name); got != want || err != nil {
			t.Errorf("%s = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"VmHWM", "Threads"} {
		if _, err := StatusField(status, name); err == nil {
			t.Errorf("no error of %s", name)
		}
	}
}

func TestParseCoreTime(t *testing.T) {
	stat := []byte("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 1000 2000 4 5 6 7 8\ncpu10 1 x 3 4 5 6 7 8 9 9\n")
	if got, err := parseCoreTime(stat, 0); got != 210*time.Millisecond || err != nil {
		t.Errorf("%v, %v, want 210ms", got, err)
	}
	for _, cpu := range []int{1, 10} {
		if _, err := parseCoreTime(stat, cpu); err == nil {
			t.Errorf("no error of core %d", cpu)
		}
	}
}

// The two ways of asking the kernel for CPU time must agree.
func TestCPUTime(t *testing.T) {
	pid := os.Getpid()
	before, err := CPUTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
	}
	after, err := CPUTime(pid)
	if err != nil || after <= before {
		t.Fatalf("CPU time %v, then %v, %v", before, after, err)
	}
	user, system, err := UserAndSystem(pid)
	if diff := (user + system - after).Abs(); err != nil || diff > 200*time.Millisecond {
		t.Errorf("/proc/PID/stat says %v, the clock %v (%v)", user+system, after, err)
	}
	if _, err := CPUTime(1<<22 + 1); err == nil {
		t.Error("no error of a process that is not there")
	}
}

func TestMemory(t *testing.T) {
	pid := os.Getpid()
	if n, err := RSS(pid); n < 1<<20 || err != nil {
		t.Errorf("RSS = %d, %v", n, err)
	}
	if n, err := PeakRSS(pid); n < 1<<20 || err != nil {
		t.Errorf("PeakRSS = %d, %v", n, err)
	}
	if n, err := SettledRSS(t.Context(), pid, time.Millisecond); n < 1<<20 || err != nil {
		t.Errorf("SettledRSS = %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SettledRSS(ctx, pid, time.Minute); err == nil {
		t.Error("SettledRSS goes on after its context")
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
