//go:build dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// What all systems but macOS do; socket_darwin.go has macOS's.

func socket(family, typ int) (int, error) {
	return unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// accept uses package syscall for two reasons. On Linux, x/sys makes an additional
// system call: it asks each accepted socket for its protocol. On NetBSD and
// OpenBSD, x/sys v0.47 has no Accept4; package syscall's is paccept(2) on NetBSD.
func accept(fd int) (int, unix.Sockaddr, error) {
	nfd, sa, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return nfd, &unix.SockaddrInet4{Port: sa.Port, Addr: sa.Addr}, nil
	case *syscall.SockaddrInet6:
		return nfd, &unix.SockaddrInet6{Port: sa.Port, ZoneId: sa.ZoneId, Addr: sa.Addr}, nil
	case *syscall.SockaddrUnix:
		return nfd, &unix.SockaddrUnix{Name: sa.Name}, nil
	}
	return nfd, nil, nil
}

// lingerOption is the option whose time is in seconds.
const lingerOption = unix.SO_LINGER

// maxLinger is the longest time that every system takes. OpenBSD refuses more.
const maxLinger = 1<<15 - 1
