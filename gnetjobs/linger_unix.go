//go:build unix

package gnetjobs

import "golang.org/x/sys/unix"

// shutdownWrite shuts the sending side of a socket.
func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }
