package loop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The options of listening sockets as Linux has them.

const (
	hasKeepAliveTime = true
	hasDeferAccept   = true
	hasFastOpen      = true
)

func setKeepAliveTime(fd int, d time.Duration) error {
	for _, opt := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, opt, seconds(d)); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return setKeepAlive(fd, true)
}

func setDeferAccept(fd int, d time.Duration) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(d)))
}

func setFastOpen(fd, queue int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, queue))
}

// fastOpenIsOff says why the kernel does not do what setFastOpen asks for. It is "" if it
// does, or if that is not known.
func fastOpenIsOff() string {
	const name, server = "net.ipv4.tcp_fastopen", 2
	if bits, ok := sysctl(name); ok && bits&server == 0 {
		return fmt.Sprintf("%s is %d", name, bits)
	}
	return ""
}

// backlogLimit returns the most connections that may wait for any listener, and the name
// of that limit. It is 0 if it is not known.
func backlogLimit() (name string, n int) {
	name = "net.core.somaxconn"
	n, _ = sysctl(name)
	return name, n
}

func sysctl(name string) (int, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// sysReplace makes fd stand for what by stands for. What fd stood for is closed.
func sysReplace(fd, by int) error {
	for {
		err := unix.Dup3(by, fd, unix.O_CLOEXEC)
		if err != unix.EINTR && err != unix.EBUSY {
			return os.NewSyscallError("dup3", err)
		}
	}
}
