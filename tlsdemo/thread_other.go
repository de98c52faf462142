//go:build !linux

package main

import "time"

// threadID returns the kernel's number of the thread it is called on; ok is
// false where that cannot be asked for.
func threadID() (id int, ok bool) { return 0, false }

// threadCPU returns the CPU time that the thread it is called on has used; ok
// is false where that cannot be asked for.
func threadCPU() (used time.Duration, ok bool) { return 0, false }
