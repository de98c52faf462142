//go:build !unix

package load

import "time"

// The loop does not run on these systems, so nothing here is ever called.

func cpuTime() (cpu time.Duration, maxRSS int64) { return 0, 0 }

func checkDescriptors(int) error { return nil }

// MaxConnections is how many connections at a time the process's limit of open
// files allows.
func MaxConnections() int { return 1 << 20 }
