//go:build !linux

package main

// threadID returns the kernel's number of the thread it is called on; ok is
// false where that cannot be asked for.
func threadID() (id int, ok bool) { return 0, false }
