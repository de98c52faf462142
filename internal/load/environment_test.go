package load

import (
	"testing"

	"github.com/jobloop/jobloop/internal/machine"
)

func TestEnvironmentHasTheKernel(t *testing.T) {
	if got := environment().Kernel; got != machine.Kernel() {
		t.Errorf("%q, the machine has %q", got, machine.Kernel())
	}
}
