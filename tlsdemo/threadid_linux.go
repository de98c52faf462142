package main

import "golang.org/x/sys/unix"

// threadID returns the kernel's number of the thread it is called on.
func threadID() (id int, ok bool) { return unix.Gettid(), true }
