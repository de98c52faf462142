//go:build linux

package process

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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

	server, client := DefaultCPU, DefaultCPU
	notes, err := ChooseCores(&server, &client)
	if err != nil {
		t.Fatal(err)
	}
	for i, cpu := range []int{server, client} {
		want, missing := AnyCPU, fmt.Sprintf("no core %d ", i)
		if core == i {
			want = i
		}
		if cpu != want || strings.Contains(strings.Join(notes, "\n"), missing) != (want == AnyCPU) {
			t.Errorf("of core %d: default %d is %d, and said is %q", core, i, cpu, notes)
		}
	}
	for _, chosen := range []int{core, AnyCPU} {
		server, client := chosen, AnyCPU
		if notes, err := ChooseCores(&server, &client); err != nil || notes != nil || server != chosen || client != AnyCPU {
			t.Errorf("core %d: %d and %d, %q, %v", chosen, server, client, notes, err)
		}
	}
	for _, bad := range []struct {
		server, client int
		want           string
	}{
		{core + 1, AnyCPU, fmt.Sprintf("--server-cpu: there is no core %d", core+1)},
		{AnyCPU, 1000, "--client-cpu: there is no core 1000"},
		{AnyCPU, 1023, "--client-cpu: there is no core 1023"},
		{AnyCPU, -3, "--client-cpu: there is no core -3"},
	} {
		if _, err := ChooseCores(&bad.server, &bad.client); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}
