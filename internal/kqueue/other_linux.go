package kqueue

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SO_LINGER_SEC is a number that Linux does not use.
const SO_LINGER_SEC = 0x1080

// ticks is how often the clock ticks in a second on macOS, in whose SO_LINGER
// seconds are ticks.
const ticks = 100

// Read is read(2). FreeBSD and macOS refuse to read more than 2 GiB-1.
func Read(fd int, p []byte) (int, error) {
	if (GOOS == "freebsd" || GOOS == "darwin") && len(p) > math.MaxInt32 {
		return -1, unix.EINVAL
	}
	return unix.Read(fd, p)
}

// Poll is poll(2). On macOS it knows no devices.
func Poll(fds []unix.PollFd, timeout int) (int, error) {
	if GOOS == "darwin" {
		for i := range fds {
			var st unix.Stat_t
			if unix.Fstat(int(fds[i].Fd), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
				fds[i].Revents = unix.POLLNVAL
				return 1, nil
			}
		}
	}
	return unix.Poll(fds, timeout)
}

// Getsockname is getsockname(2). On NetBSD and macOS a TCP socket has no address
// any more once it has been reset.
func Getsockname(fd int) (unix.Sockaddr, error) {
	if (GOOS == "netbsd" || GOOS == "darwin") && !isListening(fd) && hasFailed(fd) {
		return nil, unix.EINVAL
	}
	return unix.Getsockname(fd)
}

// SetsockoptLinger is setsockopt(2). The kernel of macOS has the time in a short,
// as ticks.
func SetsockoptLinger(fd, level, opt int, l *unix.Linger) error {
	if GOOS != "darwin" {
		return unix.SetsockoptLinger(fd, level, opt, l)
	}
	t := l.Linger
	if opt == SO_LINGER_SEC {
		t *= ticks
	}
	return unix.SetsockoptLinger(fd, level, unix.SO_LINGER, &unix.Linger{Onoff: l.Onoff, Linger: int32(int16(t)) / ticks})
}

func isSocket(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil
}

func isListening(fd int) bool {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && on != 0
}

// The states of TCP in TCP_INFO.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpSynRecv     = 3
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpListen      = 10
)

// hasFailed reports whether fd is a TCP socket that was connected and has been
// reset.
func hasFailed(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != tcpClose {
		return false
	}
	pfd := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(pfd, 0)
	return n == 1 && err == nil && pfd[0].Revents&unix.POLLERR != 0
}

// shutForWriting reports whether a socket can send no more.
func shutForWriting(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return false
	}
	if domain != unix.AF_UNIX {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return false
		}
		switch info.State {
		case tcpEstablished, tcpSynSent, tcpSynRecv, tcpCloseWait, tcpListen:
			return false
		}
		return true
	}
	var msg unix.Msghdr // with nothing in it
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	return errno == unix.EPIPE
}

// brokenPipe reports whether fd is a pipe whose reader is gone.
func brokenPipe(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return false
	}
	pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(pfd, 0)
	return n == 1 && err == nil && pfd[0].Revents&unix.POLLERR != 0
}
