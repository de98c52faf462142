package loop

import (
	"encoding/binary"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/waitctx"
)

// poller is the epoll(7) poller. See poller.go for what its methods do.
type poller struct {
	fd     int
	wakeFD int // an eventfd, edge-triggered: it never has to be read
	buf    []unix.EpollEvent
	coarse bool // waits have millisecond precision, because epoll_pwait2 is missing
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{fd: fd, wakeFD: wakeFD}
	if err := p.ctl(unix.EPOLL_CTL_ADD, wakeFD, 0, unix.EPOLLIN|unix.EPOLLET); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() error {
	unix.Close(p.wakeFD)
	return os.NewSyscallError("close", unix.Close(p.fd))
}

func (p *poller) add(fd int, gen generation) error {
	return p.ctl(unix.EPOLL_CTL_ADD, fd, gen, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLET)
}

func (p *poller) arm(fd int, gen generation, ev waitctx.Events, fresh bool) error {
	if fd == p.wakeFD { // a wrong number of the user's
		return os.NewSyscallError("epoll_ctl", unix.EINVAL)
	}
	bits := oneshot(ev)
	if fresh {
		err := p.ctl(unix.EPOLL_CTL_ADD, fd, gen, bits)
		if !isErrno(err, unix.EEXIST) {
			return err
		}
	}
	err := p.ctl(unix.EPOLL_CTL_MOD, fd, gen, bits)
	if isErrno(err, unix.ENOENT) { // it has been closed and opened again since
		err = p.ctl(unix.EPOLL_CTL_ADD, fd, gen, bits)
	}
	return err
}

func (p *poller) armed(fd int, gen generation, ev waitctx.Events) bool {
	return p.ctl(unix.EPOLL_CTL_MOD, fd, gen, oneshot(ev)) == nil
}

func oneshot(ev waitctx.Events) uint32 {
	bits := uint32(unix.EPOLLONESHOT)
	if ev&waitctx.Readable != 0 {
		bits |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if ev&waitctx.Writable != 0 {
		bits |= unix.EPOLLOUT
	}
	return bits
}

func (p *poller) remove(fd int) error {
	if fd == p.wakeFD {
		return nil
	}
	err := p.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0)
	if isErrno(err, unix.ENOENT) || isErrno(err, unix.EBADF) || isErrno(err, unix.EPERM) {
		return nil
	}
	return err
}

func (p *poller) wait(events []event, timeout time.Duration) (int, error) {
	if cap(p.buf) < len(events) {
		p.buf = make([]unix.EpollEvent, len(events))
	}
	n, err := p.epollWait(p.buf[:len(events)], timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	out := 0
	for i := range p.buf[:n] {
		e := &p.buf[i]
		if int(e.Fd) == p.wakeFD {
			continue
		}
		over := e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
		eof := over || e.Events&unix.EPOLLRDHUP != 0
		events[out] = event{
			fd:       int(e.Fd),
			gen:      generation(e.Pad),
			readable: eof || e.Events&unix.EPOLLIN != 0,
			writable: over || e.Events&unix.EPOLLOUT != 0,
			eof:      eof,
			urgent:   e.Events&unix.EPOLLPRI != 0,
			failed:   e.Events&unix.EPOLLERR != 0,
		}
		out++
	}
	return out, nil
}

func (p *poller) wake() error {
	// Each write adds 1 to a counter that is never reset. Writing fails only at
	// its maximum, after 2^64 calls.
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, err := unix.Write(p.wakeFD, one[:])
	return os.NewSyscallError("write eventfd", err)
}

func (p *poller) ctl(op, fd int, gen generation, bits uint32) error {
	e := unix.EpollEvent{Events: bits, Fd: int32(fd), Pad: int32(gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &e))
}

func (p *poller) epollWait(buf []unix.EpollEvent, timeout time.Duration) (int, error) {
	switch {
	case timeout == 0:
		return epollPoll(p.fd, buf)
	case timeout < 0:
		return unix.EpollWait(p.fd, buf, -1)
	}
	if !p.coarse {
		n, err := epollWait2(p.fd, buf, timeout)
		// Linux before 5.11 does not have it, and old sandboxes forbid it.
		if err != unix.ENOSYS && err != unix.EPERM {
			return n, err
		}
		p.coarse = true
	}
	// Rounded up, so that no timer fires early.
	ms := int(min((timeout+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
	return unix.EpollWait(p.fd, buf, ms)
}

// epollWait2 waits with the kernel's own precision instead of milliseconds.
func epollWait2(fd int, buf []unix.EpollEvent, timeout time.Duration) (int, error) {
	// struct __kernel_timespec has 64 bits on every architecture.
	ts := [2]int64{int64(timeout / time.Second), int64(timeout % time.Second)}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// epollPoll is a wait that cannot block, so it does not have to announce itself
// to the Go scheduler. It uses epoll_pwait because not every architecture has
// epoll_wait.
func epollPoll(fd int, buf []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// reusePort is the socket option that makes the kernel distribute connections
// among the listeners of one address. Linux has it since 3.9.
const reusePort = unix.SO_REUSEPORT

// bindAddressOnly makes a socket that is bound to an address without a port get
// its port only when it connects (Linux 4.2). Connections to different peers can
// then share a port. It is optional: without it, ports run out sooner.
func bindAddressOnly(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// seesUrgent says that events report urgent data.
const seesUrgent = true

// acceptInherits says that accepted sockets inherit their listener's TCP_NODELAY.
const acceptInherits = true
