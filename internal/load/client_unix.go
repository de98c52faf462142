//go:build unix

package load

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// cpuTime returns the CPU time this process has used, and the most memory it
// has had.
func cpuTime() (cpu time.Duration, maxRSS int64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0 // it fails only for other arguments
	}
	maxRSS = int64(u.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" { // there it is in bytes
		maxRSS <<= 10
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), maxRSS
}

// spareDescriptors is how many are left to the rest of the process, and to
// connections that have ended and are closed by the loop's next turn.
const spareDescriptors = 64 + maxEnded

// descriptorLimit is the most files this process may have open. (The Go runtime
// has raised it as far as it may.)
func descriptorLimit() (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return int(min(uint64(l.Cur), 1<<30)), nil
}

// ErrDescriptors: the process may not open as many files as it needs.
var ErrDescriptors = errors.New("not enough file descriptors")

// checkDescriptors finds out before the start whether a run with so many
// connections can succeed.
func checkDescriptors(connections int) error {
	limit, err := descriptorLimit()
	if err != nil {
		return err
	}
	if need := connections + spareDescriptors; need > limit {
		return fmt.Errorf("%w: %d connections need %d, and %d are allowed: raise the limit (ulimit -n %d) or lower --connections", ErrDescriptors, connections, need, limit, need)
	}
	return nil
}

// MaxConnections is the most connections at a time that the process's limit of
// open files allows.
func MaxConnections() int {
	limit, err := descriptorLimit()
	if err != nil {
		return 1
	}
	return max(limit-spareDescriptors, 1)
}
