//go:build linux

package bench

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// How the flags --server-cpu and --client-cpu name no core.
const (
	AnyCPU     = -1
	DefaultCPU = -2
)

// ChooseCores fills in the values of the flags --server-cpu and --client-cpu that
// are DefaultCPU: with 0 and 1, and where one of these is not there, AnyCPU. It
// says which are not. A core that is chosen must be there.
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
