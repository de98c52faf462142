//go:build unix

package load

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// cpuTime returns the CPU time that this process has used, and its peak resident
// memory in bytes.
func cpuTime() (cpu time.Duration, maxRSS int64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0 // cannot happen: it fails only for bad arguments
	}
	maxRSS = int64(u.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" { // there it is already in bytes
		maxRSS <<= 10
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), maxRSS
}

// spareDescriptors is how many file descriptors are kept for the rest of the
// process, and for connections that have ended and that the loop closes in its next
// turn.
const spareDescriptors = 64 + maxEnded

// descriptorLimit returns how many files this process may have open. The Go runtime
// has already raised the soft limit to the hard limit.
func descriptorLimit() (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return int(min(uint64(l.Cur), 1<<30)), nil
}

// ErrDescriptors means that the process may not open as many files as it needs.
var ErrDescriptors = errors.New("not enough file descriptors")

// checkDescriptors returns an error if the limit of open files is too low for so
// many connections.
func checkDescriptors(connections int) error {
	limit, err := descriptorLimit()
	if err != nil {
		return err
	}
	if need := connections + spareDescriptors; need > limit {
		return fmt.Errorf("%w: %d connections need %d, but only %d are allowed: raise the limit (ulimit -n %d) or lower --connections", ErrDescriptors, connections, need, limit, need)
	}
	return nil
}

// MaxConnections is how many connections at a time the process's limit of open
// files allows.
func MaxConnections() int {
	limit, err := descriptorLimit()
	if err != nil {
		return 1
	}
	return max(limit-spareDescriptors, 1)
}
