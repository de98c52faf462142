//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package loop

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The options of listening sockets as the BSDs have them. FreeBSD and Darwin have a
// TCP_FASTOPEN that is not a length, and FreeBSD has accept filters. Neither has been
// tried, so neither is offered.

// keepAliveTimes are the options for the silence before the first probe and for the time
// between two. x/sys has each only for the systems that have it. OpenBSD has neither.
var keepAliveTimes = map[string][]int{
	"darwin":    {0x10, 0x101}, // TCP_KEEPALIVE, TCP_KEEPINTVL
	"dragonfly": {0x100, 0x200},
	"freebsd":   {0x100, 0x200},
	"netbsd":    {0x3, 0x5},
}[runtime.GOOS]

var hasKeepAliveTime = keepAliveTimes != nil

const (
	hasDeferAccept = false
	hasFastOpen    = false
)

func setKeepAliveTime(fd int, d time.Duration) error {
	n := seconds(d)
	if runtime.GOOS == "dragonfly" { // which counts in milliseconds
		n = int(d.Milliseconds())
	}
	for _, opt := range keepAliveTimes {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, opt, n); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return setKeepAlive(fd, true)
}

func setDeferAccept(int, time.Duration) error { return errors.ErrUnsupported }
func setFastOpen(int, int) error              { return errors.ErrUnsupported }
func fastOpenIsOff() string                   { return "" }

// backlogLimit returns the most connections that may wait for any listener, and the name
// of that limit. It is 0 if it is not known: NetBSD does not tell.
func backlogLimit() (name string, n int) {
	name, ok := map[string]string{
		"darwin":    "kern.ipc.somaxconn",
		"dragonfly": "kern.ipc.somaxconn",
		"freebsd":   "kern.ipc.soacceptqueue",
		"openbsd":   "kern.somaxconn",
	}[runtime.GOOS]
	if !ok {
		return "", 0
	}
	limit, _ := unix.SysctlUint32(name)
	return name, int(limit)
}

// sysReplace makes fd stand for what by stands for. What fd stood for is closed.
func sysReplace(fd, by int) error {
	syscall.ForkLock.RLock() // Darwin has no dup3(2)
	defer syscall.ForkLock.RUnlock()
	for {
		err := unix.Dup2(by, fd)
		if err == nil {
			unix.CloseOnExec(fd)
		}
		if err != unix.EINTR {
			return os.NewSyscallError("dup2", err)
		}
	}
}
