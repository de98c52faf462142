//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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
		if got, err := statusField(status, name); got != want || err != nil {
			t.Errorf("%s = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"VmHWM", "Threads"} {
		if _, err := statusField(status, name); err == nil {
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
	before, err := cpuTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
	}
	after, err := cpuTime(pid)
	if err != nil || after <= before {
		t.Fatalf("CPU time %v, then %v, %v", before, after, err)
	}
	user, system, err := userAndSystem(pid)
	if diff := (user + system - after).Abs(); err != nil || diff > 200*time.Millisecond {
		t.Errorf("/proc/PID/stat says %v, the clock %v (%v)", user+system, after, err)
	}
	if _, err := cpuTime(1<<22 + 1); err == nil {
		t.Error("no error of a process that is not there")
	}
}

func TestLooksAtAProcess(t *testing.T) {
	pid := os.Getpid()
	if n, err := rss(pid); n < 1<<20 || err != nil {
		t.Errorf("rss = %d, %v", n, err)
	}
	if n, err := contextSwitches(pid); n == 0 || err != nil {
		t.Errorf("contextSwitches = %d, %v", n, err)
	}
	before, err := descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := descriptors(pid); n != before+1 || err != nil {
		t.Errorf("descriptors = %d, %v, want %d", n, err, before+1)
	}
	if n, err := settledRSS(t.Context(), pid, time.Millisecond); n < 1<<20 || err != nil {
		t.Errorf("settledRSS = %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := settledRSS(ctx, pid, time.Minute); err == nil {
		t.Error("settledRSS goes on after its context")
	}
}

func TestOnCPU(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	core := 0
	for !allowed.IsSet(core) {
		core++
	}
	var out []byte
	err := onCPU(core, func() (err error) {
		out, err = exec.Command("grep", "-c", "", "/dev/null").Output()
		if err == nil || len(out) == 0 { // grep finds nothing, with status 1
			return err
		}
		var now unix.CPUSet
		if err := unix.SchedGetaffinity(0, &now); err != nil {
			return err
		}
		if now.Count() != 1 || !now.IsSet(core) {
			t.Errorf("may run on %d cores", now.Count())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := onCPU(1000, func() error { return nil }); err == nil {
		t.Error("no error of core 1000")
	}
}

// On a machine with one core, of whatever number, the defaults are any; a core
// that was asked for must be there.
func TestChooseCores(t *testing.T) {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	core := 0
	for !allowed.IsSet(core) {
		core++
	}
	// Of a machine with one core there is but the thread that sees it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &allowed)

	o := &options{ServerCPU: defaultCPU, ClientCPU: defaultCPU}
	notes, err := o.chooseCores()
	if err != nil {
		t.Fatal(err)
	}
	for i, cpu := range []int{o.ServerCPU, o.ClientCPU} {
		want, missing := anyCPU, fmt.Sprintf("no core %d ", i)
		if core == i {
			want = i
		}
		if cpu != want || strings.Contains(strings.Join(notes, "\n"), missing) != (want == anyCPU) {
			t.Errorf("of core %d: default %d is %d, and said is %q", core, i, cpu, notes)
		}
	}
	o = &options{ServerCPU: core, ClientCPU: anyCPU}
	if notes, err := o.chooseCores(); err != nil || notes != nil || o.ServerCPU != core || o.ClientCPU != anyCPU {
		t.Errorf("%+v, %q, %v", o, notes, err)
	}
	for _, bad := range []*options{{ServerCPU: core + 1, ClientCPU: anyCPU}, {ServerCPU: anyCPU, ClientCPU: 1000}, {ServerCPU: anyCPU, ClientCPU: -3}} {
		if _, err := bad.chooseCores(); err == nil || !strings.Contains(err.Error(), "there is no core") {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}
