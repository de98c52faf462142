//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package loop

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/waitctx"
)

// poller is the kqueue(2) poller. See poller.go for what its methods do.
type poller struct {
	fd    int
	pipeR int // wakes the poller: OpenBSD, and NetBSD before 10, have no EVFILT_USER
	pipeW int
	buf   []unix.Kevent_t
}

func newPoller() (*poller, error) {
	// fork(2) does not inherit a kqueue, but exec(2) does without this flag.
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(fd)
	p := &poller{fd: fd, pipeR: -1, pipeW: -1}
	if err := p.openPipe(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() error {
	if p.pipeR >= 0 {
		unix.Close(p.pipeR)
		unix.Close(p.pipeW)
	}
	return os.NewSyscallError("close", unix.Close(p.fd))
}

func (p *poller) add(fd int, gen generation) error {
	return p.change(
		kevent(fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR, gen),
		kevent(fd, unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_CLEAR, gen),
	)
}

// filters are the two filters a descriptor can have.
var filters = [...]struct {
	event  waitctx.Events
	filter int
}{{waitctx.Readable, unix.EVFILT_READ}, {waitctx.Writable, unix.EVFILT_WRITE}}

func (p *poller) arm(fd int, gen generation, ev waitctx.Events, fresh bool) error {
	if fd == p.pipeR { // a wrong number of the user's
		return os.NewSyscallError("kevent", unix.EINVAL)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		// EVFILT_READ says nothing at the end of a file, where a read returns at
		// once. FreeBSD before 11.1 crashes (golang.org/issue/19093).
		return unix.EPERM
	case unix.S_IFIFO:
		if pipeEndIsRead && ev&waitctx.Writable != 0 {
			ev |= waitctx.Readable
		}
	}
	// The two filters are separate registrations: one may fire while the other
	// stays armed. Adding an armed filter again changes nothing.
	for _, f := range filters {
		var err error
		if ev&f.event != 0 {
			err = p.change(kevent(fd, f.filter, unix.EV_ADD|unix.EV_ONESHOT, gen))
		} else if !fresh {
			err = p.delete(fd, f.filter)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pipeEndIsRead says that EVFILT_WRITE does not report that a pipe's reader has
// gone, but EVFILT_READ on the writing end does. NetBSD and OpenBSD wake the writer
// before they mark the end. Go's runtime/netpoll_kqueue.go does the same.
var pipeEndIsRead = runtime.GOOS == "netbsd" || runtime.GOOS == "openbsd"

func (p *poller) armed(fd int, gen generation, ev waitctx.Events) bool {
	for _, f := range filters {
		if ev&f.event != 0 && p.change(kevent(fd, f.filter, unix.EV_ENABLE, gen)) != nil {
			return false // closing the descriptor has deleted it
		}
	}
	return true
}

func (p *poller) remove(fd int) error {
	if fd == p.pipeR {
		return nil
	}
	// A closed descriptor has no filters left; delete ignores that.
	if err := p.delete(fd, unix.EVFILT_READ); err != nil {
		return err
	}
	return p.delete(fd, unix.EVFILT_WRITE)
}

func (p *poller) wait(events []event, timeout time.Duration) (int, error) {
	if cap(p.buf) < len(events) {
		p.buf = make([]unix.Kevent_t, len(events))
	}
	var ts *unix.Timespec
	if timeout >= 0 {
		// Darwin refuses timeouts of 100,000,000 seconds and more with EINVAL.
		t := unix.NsecToTimespec(int64(min(timeout, 24*time.Hour)))
		ts = &t
	}
	n, err := unix.Kevent(p.fd, nil, p.buf[:len(events)], ts)
	// macOS 13 returns ETIMEDOUT even without a timeout (golang.org/issue/59679).
	if err == unix.EINTR || err == unix.ETIMEDOUT {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("kevent", err)
	}
	out := 0
	for i := range p.buf[:n] {
		k := &p.buf[i]
		fd := int(k.Ident)
		if fd == p.pipeR {
			p.drainPipe()
			continue
		}
		// EV_EOF on EVFILT_READ means that the peer has shut its side. On
		// EVFILT_WRITE it means that this side is shut, perhaps by its own
		// shutdown(2), or that no reader is left: neither is a failure. Fflags
		// then holds the socket's error, if it has one.
		eof := k.Flags&unix.EV_EOF != 0
		e := event{fd: fd, gen: generationOf(k), failed: eof && k.Fflags != 0}
		switch int(k.Filter) {
		case unix.EVFILT_READ:
			e.readable, e.eof = true, eof
		case unix.EVFILT_WRITE:
			e.writable = true
		}
		if e.failed {
			e.readable, e.writable, e.eof = true, true, true
		}
		events[out] = e
		out++
	}
	return out, nil
}

func (p *poller) wake() error {
	_, err := unix.Write(p.pipeW, []byte{0})
	if err == unix.EAGAIN { // the pipe is full: a wake is pending already
		return nil
	}
	return os.NewSyscallError("write pipe", err)
}

// change makes changes. An interrupted call has made them (kevent(2) of FreeBSD),
// or some of them, and making them again does no harm.
func (p *poller) change(changes ...unix.Kevent_t) error {
	for {
		_, err := unix.Kevent(p.fd, changes, nil, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("kevent", err)
		}
	}
}

func (p *poller) delete(fd, filter int) error {
	err := p.change(kevent(fd, filter, unix.EV_DELETE, 0))
	if isErrno(err, unix.ENOENT) || isErrno(err, unix.EBADF) {
		return nil
	}
	return err
}

// generations turns a generation into a pointer for udata, and back. The type of
// udata differs between systems: an integer on NetBSD, *byte elsewhere, always of
// at least a pointer's size. The Go runtime does not allow invalid pointers, so a
// generation is passed as the address of its byte in this array.
var generations [maxGeneration + 1]byte

func kevent(fd, filter, flags int, gen generation) unix.Kevent_t {
	var k unix.Kevent_t
	unix.SetKevent(&k, fd, filter, flags)
	*(*unsafe.Pointer)(unsafe.Pointer(&k.Udata)) = unsafe.Pointer(&generations[gen])
	return k
}

func generationOf(k *unix.Kevent_t) generation {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&k.Udata))
	return generation(uintptr(p) - uintptr(unsafe.Pointer(&generations)))
}

func (p *poller) openPipe() error {
	var fds [2]int
	syscall.ForkLock.RLock() // Darwin has no pipe2(2)
	err := unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("pipe", err)
	}
	p.pipeR, p.pipeW = fds[0], fds[1]
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("setnonblock", err)
		}
	}
	return p.change(kevent(p.pipeR, unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR, 0))
}

func (p *poller) drainPipe() {
	var b [64]byte
	for {
		if n, err := unix.Read(p.pipeR, b[:]); n < len(b) && err != unix.EINTR {
			return
		}
	}
}

// reusePort is the socket option that makes the kernel distribute connections
// among the listeners of one address, or 0 if there is none. On DragonFly it is
// SO_REUSEPORT. On FreeBSD since 12 it is SO_REUSEPORT_LB, a name that the other
// systems do not define. Elsewhere one listener gets all connections.
var reusePort = map[string]int{
	"dragonfly": unix.SO_REUSEPORT,
	"freebsd":   0x10000,
}[runtime.GOOS]

// bindAddressOnly does nothing: these systems choose the port when a socket is
// bound.
func bindAddressOnly(int) {}

// seesUrgent is false: each system reports urgent data in its own way, or not at
// all.
const seesUrgent = false

// acceptInherits is false: on FreeBSD, accepted sockets inherit their listener's
// TCP_NODELAY, but the other systems do not document it.
const acceptInherits = false
