//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseRSS(t *testing.T) {
	if got, err := parseRSS([]byte("Name:\tVmRSS\nVmRSS:\t   20480 kB\nThreads:\t3\n")); got != 20<<20 || err != nil {
		t.Errorf("%d, %v, want 20 MiB", got, err)
	}
	for _, bad := range []string{"", "VmHWM:\t1 kB\n", "VmRSS:\tmany kB\n"} {
		if _, err := parseRSS([]byte(bad)); err == nil {
			t.Errorf("no error of %q", bad)
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

// What is used between two moments is this process's: work must show, in both of
// its places here.
func TestUsage(t *testing.T) {
	w := watched{PID: os.Getpid(), Core: anyCPU}
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
	if _, err := (watched{PID: 1<<22 + 1, Core: anyCPU}).take(); err == nil {
		t.Error("no error of a process that is not there")
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
	if err := onCPU(cpu, cmd.Start); err != nil {
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
	if err := onCPU(1023, func() error { t.Error("called"); return nil }); err == nil {
		t.Error("no error of a core that is not there")
	}
}
