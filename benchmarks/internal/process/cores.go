//go:build linux

package process

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Values of the flags --server-cpu and --client-cpu that name no core.
const (
	AnyCPU     = -1
	DefaultCPU = -2
)

// ChooseCores replaces DefaultCPU in the flags --server-cpu and --client-cpu by 0
// and 1. If there is no such core, it takes AnyCPU instead, and a note says so. A
// core that a flag names must be there.
func ChooseCores(server, client *int) (notes []string, _ error) {
	var there unix.CPUSet
	if err := unix.SchedGetaffinity(0, &there); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	for _, c := range []struct {
		flag, who, others string
		cpu               *int
		first             int
	}{
		{"--server-cpu", "servers", "clients", server, 0},
		{"--client-cpu", "clients", "servers", client, 1},
	} {
		switch {
		case *c.cpu >= 0 && !there.IsSet(*c.cpu):
			return nil, fmt.Errorf("%s: there is no core %d to run on (-1 leaves it to the system)", c.flag, *c.cpu)
		case *c.cpu == DefaultCPU && there.IsSet(c.first):
			*c.cpu = c.first
		case *c.cpu == DefaultCPU:
			*c.cpu = AnyCPU
			notes = append(notes, fmt.Sprintf("There is no core %d here: the %s run on any, and may take time from the %s.", c.first, c.who, c.others))
		case *c.cpu < AnyCPU:
			return nil, fmt.Errorf("%s: there is no core %d", c.flag, *c.cpu)
		}
	}
	return notes, nil
}

// OnCPU calls f on a thread that may only run on one core. A process that f starts
// inherits that. A negative number means any core.
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
