//go:build linux

package process

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/machine"
)

// Machine describes what figures are measured on.
func Machine() (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return fmt.Sprintf("%s, %d cores, Linux %s %s, %s", cmp.Or(machine.CPU(), "unknown CPU"), runtime.NumCPU(),
		kernelVersion(unix.ByteSliceToString(uts.Release[:])), runtime.GOARCH, runtime.Version()), nil
}

// kernelVersion is a kernel's release without what its builder has added:
// 6.18.44 of 6.18.44-generic.
func kernelVersion(release string) string {
	if i := strings.IndexFunc(release, func(c rune) bool { return c != '.' && (c < '0' || c > '9') }); i >= 0 {
		release = release[:i]
	}
	return strings.TrimRight(release, ".")
}

// Revision is the commit that is measured. The go command does not record it in
// programs it runs.
func Revision() string {
	b, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// LoadAverage returns the machine's, over 1, 5 and 15 minutes.
func LoadAverage() (string, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return "", err
	}
	l, err := fs.LoadAvg()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f %.2f %.2f", l.Load1, l.Load5, l.Load15), nil
}
