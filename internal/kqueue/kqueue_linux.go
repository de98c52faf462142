// Package kqueue is kqueue(2) for tests on Linux. Nothing imports it: package
// overlay builds package loop with its kqueue poller and with this package in the
// place of golang.org/x/sys/unix, so that Linux runs the tests of code that is for
// macOS and the BSDs. Passing them proves no more than this model of the kernels.
//
// What it declares has the names that package unix has for it. It has EVFILT_READ
// and EVFILT_WRITE on descriptors, by epoll(7), and does as the kernels do where
// that differs from epoll:
//
//   - Each filter is a registration of its own, with events of its own.
//   - Adding a filter again changes its udata, not its flags, and looks at what is
//     ready now.
//   - EV_ONESHOT deletes the filter. Deleting or enabling one that does not exist
//     is ENOENT.
//   - A socket whose sending side has been shut, by either end, has EV_EOF in
//     events of EVFILT_WRITE. A socket with an error has it in Fflags.
//   - A regular file is readable before its end only, and always writable.
//     EVFILT_READ says nothing at the end.
//   - A pipe without a reader cannot be added for EVFILT_WRITE: EPIPE. On NetBSD it
//     is EBADF.
//   - On NetBSD and OpenBSD, EVFILT_WRITE does not report that a pipe's reader has
//     gone. EVFILT_READ on the writing end does.
//   - Files that epoll refuses, except for regular files, are refused here too:
//     EOPNOTSUPP. So are all character devices on macOS, with EINVAL; poll(2) says
//     POLLNVAL of them.
//   - A call is interrupted from time to time. Its changes have been made. On macOS
//     a call without a timeout may return ETIMEDOUT.
//
// The other functions do what the system calls of macOS or a BSD do where they
// differ: see other_linux.go.
package kqueue

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	EVFILT_READ  = -1
	EVFILT_WRITE = -2
	EV_ADD       = 0x1
	EV_DELETE    = 0x2
	EV_ENABLE    = 0x4
	EV_ONESHOT   = 0x10
	EV_CLEAR     = 0x20
	EV_EOF       = 0x8000
)

type Kevent_t struct {
	Ident  uint64
	Filter int16
	Flags  uint16
	Fflags uint32
	Data   int64
	Udata  *byte
}

func SetKevent(k *Kevent_t, fd, mode, flags int) {
	k.Ident, k.Filter, k.Flags = uint64(fd), int16(mode), uint16(flags)
}

// filter names a registration.
type filter struct {
	fd   int
	kind int16
}

// knote is a registration.
type knote struct {
	filter
	id    uint64 // in the epoll instance; it tells successive owners of fd apart
	flags uint16
	udata *byte
	file  bool // a regular file, which epoll refuses
	fired bool // file, and EV_CLEAR: has been reported
}

type queue struct {
	mu    sync.Mutex
	subs  [2]int // the filters' epoll instances; the queue's own descriptor polls them
	notes map[filter]*knote
	ids   map[uint64]*knote
	last  uint64 // id
	calls int
}

var (
	mu     sync.Mutex
	queues = map[int]*queue{}
)

func Kqueue() (int, error) {
	kq, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	q := &queue{notes: map[filter]*knote{}, ids: map[uint64]*knote{}}
	for i := range q.subs {
		if q.subs[i], err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
			err = unix.EpollCtl(kq, unix.EPOLL_CTL_ADD, q.subs[i], &unix.EpollEvent{Events: unix.EPOLLIN})
		}
		if err != nil {
			for _, fd := range q.subs[:i+1] {
				unix.Close(fd)
			}
			unix.Close(kq)
			return -1, err
		}
	}
	mu.Lock()
	queues[kq] = q
	mu.Unlock()
	return kq, nil
}

// Close is close(2), of a queue or of any other descriptor.
func Close(fd int) error {
	mu.Lock()
	q := queues[fd]
	delete(queues, fd)
	mu.Unlock()
	if q != nil {
		unix.Close(q.subs[0])
		unix.Close(q.subs[1])
	}
	return unix.Close(fd)
}

// Each of so many calls is interrupted: changes, and waits.
const (
	interruptedChange = 7
	interruptedWait   = 11
)

func Kevent(kq int, changes, events []Kevent_t, timeout *unix.Timespec) (int, error) {
	mu.Lock()
	q := queues[kq]
	mu.Unlock()
	if q == nil {
		return 0, unix.EBADF
	}
	q.mu.Lock()
	q.calls++
	call := q.calls
	for i := range changes {
		if err := q.change(&changes[i]); err != nil {
			q.mu.Unlock()
			return 0, err
		}
	}
	q.mu.Unlock()
	if len(events) == 0 {
		if call%interruptedChange == 0 {
			return 0, unix.EINTR
		}
		return 0, nil
	}
	var end time.Time
	if timeout != nil {
		end = time.Now().Add(time.Duration(timeout.Nano()))
	}
	for {
		q.mu.Lock()
		n := q.collect(events)
		q.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if call%interruptedWait == 0 {
			if GOOS == "darwin" {
				return 0, unix.ETIMEDOUT
			}
			return 0, unix.EINTR
		}
		var left *unix.Timespec
		if timeout != nil {
			d := time.Until(end)
			if d <= 0 {
				return 0, nil
			}
			ts := unix.NsecToTimespec(int64(d))
			left = &ts
		}
		pfd := []unix.PollFd{{Fd: int32(kq), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(pfd, left, nil); err != nil {
			return 0, err
		}
	}
}

// sub returns the epoll instance of a filter, and what it asks for.
func (q *queue) sub(kind int16) (fd int, mask uint32) {
	if kind == EVFILT_WRITE {
		return q.subs[1], unix.EPOLLOUT
	}
	return q.subs[0], unix.EPOLLIN | unix.EPOLLRDHUP
}

func (q *queue) change(k *Kevent_t) error {
	fd := int(k.Ident)
	at := filter{fd, k.Filter}
	note := q.notes[at]
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		if note != nil {
			q.drop(note)
		}
		return unix.EBADF
	}
	sub, mask := q.sub(k.Filter)
	switch {
	case k.Flags&EV_ADD != 0:
		return q.add(at, note, k)
	case note == nil:
		return unix.ENOENT
	case k.Flags&EV_DELETE != 0:
		q.drop(note)
		if note.file {
			return nil
		}
		return unix.EpollCtl(sub, unix.EPOLL_CTL_DEL, fd, nil) // ENOENT: closed and opened again
	}
	if note.file { // EV_ENABLE
		return nil
	}
	e := note.event(mask, note.flags)
	err := unix.EpollCtl(sub, unix.EPOLL_CTL_MOD, fd, &e)
	if err != nil {
		q.drop(note)
	}
	return err
}

func (q *queue) add(at filter, note *knote, k *Kevent_t) error {
	var st unix.Stat_t
	if err := unix.Fstat(at.fd, &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if GOOS == "darwin" && kind == unix.S_IFCHR {
		return unix.EINVAL
	}
	if at.kind == EVFILT_WRITE && note == nil && brokenPipe(at.fd) {
		if GOOS == "netbsd" {
			return unix.EBADF
		}
		return unix.EPIPE
	}
	q.last++
	fresh := &knote{filter: at, id: q.last, flags: k.Flags, udata: k.Udata}
	sub, mask := q.sub(at.kind)
	flags := k.Flags
	if note != nil {
		flags = note.flags
	}
	e := fresh.event(mask, flags)
	err := unix.EpollCtl(sub, unix.EPOLL_CTL_ADD, at.fd, &e)
	switch {
	case err == unix.EEXIST:
		if note == nil { // a duplicate of what has been closed, which has no filter
			e = fresh.event(mask, k.Flags)
		} else {
			fresh.flags = note.flags
		}
		err = unix.EpollCtl(sub, unix.EPOLL_CTL_MOD, at.fd, &e)
	case err == nil && note != nil: // another file by the same number
		e = fresh.event(mask, k.Flags)
		err = unix.EpollCtl(sub, unix.EPOLL_CTL_MOD, at.fd, &e)
	case err == unix.EPERM && kind == unix.S_IFREG:
		fresh.file, err = true, nil
	case err == unix.EPERM:
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		return err
	}
	if note != nil {
		q.drop(note)
	}
	q.notes[at], q.ids[fresh.id] = fresh, fresh
	return nil
}

func (n *knote) event(mask uint32, flags uint16) unix.EpollEvent {
	if flags&EV_CLEAR != 0 {
		mask |= unix.EPOLLET
	}
	if flags&EV_ONESHOT != 0 {
		mask |= unix.EPOLLONESHOT
	}
	return unix.EpollEvent{Events: mask, Fd: int32(n.id), Pad: int32(n.id >> 32)}
}

func (q *queue) drop(n *knote) {
	delete(q.notes, n.filter)
	delete(q.ids, n.id)
}

// collect takes what is ready. The filters take turns to be first.
func (q *queue) collect(events []Kevent_t) int {
	n := 0
	for i := range q.subs {
		sub := q.subs[(q.calls+i)%len(q.subs)]
		for n < len(events) {
			buf := make([]unix.EpollEvent, min(len(events)-n, 128))
			k, _ := unix.EpollWait(sub, buf, 0)
			if k <= 0 {
				break
			}
			for j := range buf[:k] {
				id := uint64(uint32(buf[j].Fd)) | uint64(uint32(buf[j].Pad))<<32
				note := q.ids[id]
				if note == nil || note.untold(buf[j].Events) {
					continue
				}
				events[n] = q.report(note, sub, buf[j].Events)
				n++
			}
			if k < len(buf) {
				break
			}
		}
	}
	for _, note := range q.notes {
		if n < len(events) && note.file && !note.fired && note.fileReady() {
			events[n] = q.report(note, -1, 0)
			n++
		}
	}
	return n
}

// untold reports whether the kernel keeps an event to itself: NetBSD and OpenBSD
// wake a pipe's writer before they mark the reader's end as gone.
func (n *knote) untold(bits uint32) bool {
	return (GOOS == "netbsd" || GOOS == "openbsd") &&
		n.kind == EVFILT_WRITE && bits&unix.EPOLLERR != 0 && brokenPipe(n.fd)
}

func (q *queue) report(n *knote, sub int, bits uint32) Kevent_t {
	k := Kevent_t{Ident: uint64(n.fd), Filter: n.kind, Flags: n.flags, Udata: n.udata}
	end := bits&(unix.EPOLLHUP|unix.EPOLLRDHUP) != 0
	if n.kind == EVFILT_WRITE && !end && !n.file {
		end = shutForWriting(n.fd)
	}
	if bits&unix.EPOLLERR != 0 {
		end = true
		if isSocket(n.fd) {
			k.Fflags = uint32(unix.ECONNRESET) // to ask which one it is would take it away
		}
	}
	if end {
		k.Flags |= EV_EOF
	}
	if n.flags&EV_ONESHOT != 0 {
		q.drop(n)
		if !n.file {
			unix.EpollCtl(sub, unix.EPOLL_CTL_DEL, n.fd, nil)
		}
	}
	n.fired = n.flags&EV_CLEAR != 0
	return k
}

func (n *knote) fileReady() bool {
	if n.kind == EVFILT_WRITE {
		return true
	}
	var st unix.Stat_t
	at, err := unix.Seek(n.fd, 0, 1)
	return err == nil && unix.Fstat(n.fd, &st) == nil && at != st.Size
}
