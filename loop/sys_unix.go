//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/waitctx"
)

// The system calls that are the same on every Unix. unsupported.go has stubs for
// other systems.

type sockaddr = unix.Sockaddr

const (
	errnoEPERM        = unix.EPERM
	errnoEPIPE        = unix.EPIPE
	errnoECONNREFUSED = unix.ECONNREFUSED
)

func isErrno(err error, errno syscall.Errno) bool { return errors.Is(err, errno) }

// isDescriptorLimit reports whether the process or the system has no descriptors left.
func isDescriptorLimit(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

func wouldBlock(err error) bool { return err == unix.EAGAIN || err == unix.EINTR }

func interrupted(err error) bool { return err == unix.EINTR }

// maxIO is the most bytes read or written at a time. Darwin and FreeBSD refuse more
// than 2 GiB-1 with EINVAL (golang.org/issue/7812, golang.org/issue/16266).
const maxIO = 1 << 30

func sysRead(fd int, p []byte) (int, error) { return unix.Read(fd, p[:min(len(p), maxIO)]) }

func sysWrite(fd int, p []byte) (int, error) { return unix.Write(fd, p[:min(len(p), maxIO)]) }

// sysPeek reports whether a read would return at once.
func sysPeek(fd int) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return !wouldBlock(err)
}

// sysIsOpen reports whether fd is an open descriptor.
func sysIsOpen(fd int) bool {
	if fd > math.MaxInt32 { // the kernel would only look at the low bits
		return false
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func sysClose(fd int) error { return unix.Close(fd) }

func sysNonblock(fd int) { unix.SetNonblock(fd, true) }

// sysPoll waits until fd is ready or the timeout has passed; a negative timeout
// never passes. It is for code that may not pause, and for descriptors that the
// poller cannot watch.
func sysPoll(fd int, ev waitctx.Events, timeout time.Duration) (ready bool, err error) {
	pfd := [1]unix.PollFd{{Fd: int32(fd)}}
	if ev&waitctx.Readable != 0 {
		pfd[0].Events |= unix.POLLIN
	}
	if ev&waitctx.Writable != 0 {
		pfd[0].Events |= unix.POLLOUT
	}
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, err := unix.Poll(pfd[:], ms)
	if err == unix.EINTR {
		return false, nil
	}
	if pfd[0].Revents&unix.POLLNVAL != 0 {
		// It is not open, or poll cannot tell: on macOS devices have no poll.
		return false, os.NewSyscallError("poll", unix.EBADF)
	}
	return n > 0, os.NewSyscallError("poll", err)
}

// acceptError says what an error of accept means for the listener.
func acceptError(err error) acceptOutcome {
	switch err {
	case unix.EAGAIN:
		return acceptDrained
	case unix.EBADF, unix.EINVAL, unix.ENOTSOCK:
		return acceptFailed
	case unix.EINTR, unix.ECONNABORTED, unix.ECONNRESET, unix.EPROTO, unix.EPERM, unix.EACCES, unix.ETIMEDOUT,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENOPROTOOPT, unix.EOPNOTSUPP,
		unix.EAFNOSUPPORT:
		// Linux's accept(2) also returns network errors of the new connection.
		// EAFNOSUPPORT is package syscall's for a client that has gone so early
		// that the kernel gives no address for it.
		return acceptNext
	}
	return acceptLater // EMFILE, ENFILE, ENOBUFS, ENOMEM and unknown errors
}

// dupSocket returns a duplicate of the descriptor of a listener or connection.
func dupSocket(s any) (int, error) {
	sc, ok := s.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("loop: %T has no descriptor", s)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	nfd := -1
	var derr error
	if err := rc.Control(func(fd uintptr) {
		nfd, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	if derr != nil {
		return -1, os.NewSyscallError("fcntl", derr)
	}
	if err := unix.SetNonblock(nfd, true); err != nil {
		unix.Close(nfd)
		return -1, os.NewSyscallError("setnonblock", err)
	}
	return nfd, nil
}

func setReusePort(rc syscall.RawConn) error {
	var serr error
	if err := rc.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, reusePort, 1)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", serr)
}

// lacksOption reports whether err means that the system does not know a socket
// option.
func lacksOption(err error) bool { return isErrno(err, unix.ENOPROTOOPT) || isErrno(err, unix.EINVAL) }

func setNoDelay(fd int, on bool) error {
	return setsockoptBool(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, on)
}

func setKeepAlive(fd int, on bool) error {
	return setsockoptBool(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, on)
}

// seconds rounds d up to the unit of most socket options that are times.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func setBuffer(fd int, write bool, n int) error {
	opt := unix.SO_RCVBUF
	if write {
		opt = unix.SO_SNDBUF
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, n))
}

func setLinger(fd, sec int) error {
	l := unix.Linger{Linger: int32(min(max(sec, 0), maxLinger))}
	if sec >= 0 {
		l.Onoff = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, lingerOption, &l))
}

func setsockoptBool(fd, level, opt int, on bool) error {
	v := 0
	if on {
		v = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, opt, v))
}

func sysShutdown(fd int, write bool) error {
	how := unix.SHUT_RD
	if write {
		how = unix.SHUT_WR
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, how))
}

// sysBacklog sets how many connections may wait for fd, a listening socket.
func sysBacklog(fd, n int) error {
	return os.NewSyscallError("listen", unix.Listen(fd, min(n, math.MaxInt32)))
}

// sysConnect starts connecting a new socket to ra. When the socket becomes
// writable, it is connected or has failed.
func sysConnect(ra, la sockaddr) (int, error) {
	family := unix.AF_UNIX
	switch ra.(type) {
	case *unix.SockaddrInet4:
		family = unix.AF_INET
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	}
	fd, err := socket(family, unix.SOCK_STREAM)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if la != nil {
		if a, ok := netAddr(la).(*net.TCPAddr); ok && a.Port == 0 {
			bindAddressOnly(fd)
		}
		if err := unix.Bind(fd, la); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("bind", err)
		}
	}
	for {
		switch err := unix.Connect(fd, ra); err {
		case nil, unix.EINPROGRESS, unix.EISCONN, unix.EALREADY:
			return fd, nil
		case unix.EINTR:
		default:
			unix.Close(fd)
			return -1, os.NewSyscallError("connect", err)
		}
	}
}

// sysConnected returns the address that a socket is connected to, nil if it is not
// connected yet, or the error of its connect.
func sysConnected(fd int) (sockaddr, error) {
	if sa, err := unix.Getpeername(fd); err == nil { // nearly always: the poller has said so
		return sa, nil
	}
	// A socket that is still being connected is neither writable nor at its end.
	ended, err := sysPoll(fd, waitctx.Writable, 0)
	if err != nil {
		return nil, err
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	switch err := syscall.Errno(errno); err {
	case 0, unix.EINPROGRESS, unix.EALREADY, unix.EINTR, unix.EISCONN:
	default:
		return nil, os.NewSyscallError("connect", err)
	}
	sa, err := unix.Getpeername(fd)
	switch {
	case err == nil:
		return sa, nil
	case !ended:
		return nil, nil
	}
	if local, ok := sysLocalAddr(fd).(*unix.SockaddrUnix); ok {
		return local, nil // connect(2) does not wait; the peer has gone, but may have sent something
	}
	if errno := sysSocketError(fd); errno != 0 { // the peer has reset it just now
		return nil, os.NewSyscallError("connect", errno)
	}
	// It has failed, and something has taken its error. The next call knows no more
	// than that there is no connection.
	return nil, os.NewSyscallError("connect", err)
}

// isAddrNotAvail reports whether the kernel found no address or port to connect from.
func isAddrNotAvail(err error) bool { return errors.Is(err, unix.EADDRNOTAVAIL) }

// sameAddr reports whether a and b are the same address and port.
func sameAddr(a, b sockaddr) bool {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		b, ok := b.(*unix.SockaddrInet4)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	case *unix.SockaddrInet6:
		b, ok := b.(*unix.SockaddrInet6)
		return ok && a.Port == b.Port && a.Addr == b.Addr && a.ZoneId == b.ZoneId
	}
	return false
}

// sysSocketError returns the error with which fd has failed, or 0. The kernel
// returns each error only once.
func sysSocketError(fd int) syscall.Errno {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return syscall.Errno(errno)
}

// sysLocalAddr returns the address of this end, or nil if it is not known.
func sysLocalAddr(fd int) sockaddr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	return sa
}

// sysRemoteAddr returns the address of the other end of a connection.
func sysRemoteAddr(fd int) (sockaddr, error) {
	sa, err := unix.Getpeername(fd)
	return sa, os.NewSyscallError("getpeername", err)
}

// sysNetConn returns a connection of package net with a duplicate of fd.
func sysNetConn(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "")
	defer f.Close() // FileConn makes another duplicate
	return net.FileConn(f)
}

// sysIsStream reports whether fd is a stream socket.
func sysIsStream(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// sysSpare returns a descriptor that is good for nothing, or 0.
func sysSpare() int {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	return fd
}

// isWildcard reports whether connections to a listener at sa have other local
// addresses than sa.
func isWildcard(sa sockaddr) bool {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Addr == [4]byte{}
	case *unix.SockaddrInet6:
		return sa.Addr == [16]byte{} || netip.AddrFrom16(sa.Addr).Is4In6()
	}
	return false
}

// netAddr converts an address from the kernel's form to package net's.
func netAddr(sa sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if ip.Is4In6() {
			ip = ip.Unmap()
		} else if sa.ZoneId != 0 {
			ip = ip.WithZone(zoneName(sa.ZoneId))
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(sa.Port)))
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}

func zoneName(id uint32) string {
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return strconv.Itoa(int(id))
}

func inetSockaddr(ap netip.AddrPort) sockaddr {
	ip := ap.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		sa.ZoneId, _ = zoneIndex(zone)
	}
	return sa
}

func unixSockaddr(name string) sockaddr { return &unix.SockaddrUnix{Name: name} }
