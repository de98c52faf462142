//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLooksAtAProcess(t *testing.T) {
	pid := os.Getpid()
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
