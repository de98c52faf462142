//go:build !linux

package main

import "time"

// threadID returns the kernel's ID of the calling thread. ok is false: this system
// is not asked.
func threadID() (id int, ok bool) { return 0, false }

// threadCPU returns the CPU time that the calling thread has used. ok is false:
// this system is not asked.
func threadCPU() (used time.Duration, ok bool) { return 0, false }
