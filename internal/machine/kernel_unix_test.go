//go:build unix

package machine

import (
	"os/exec"
	"strings"
	"testing"
)

// uname(1) says the same.
func TestKernel(t *testing.T) {
	out, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		t.Skip(err)
	}
	if got, want := Kernel(), strings.TrimSpace(string(out)); got != want {
		t.Errorf("%q, uname says %q", got, want)
	}
}
