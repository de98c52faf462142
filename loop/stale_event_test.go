//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Within one batch of events, one of them may have a connection closed, and its
// number go to the next. What the batch says of the first must not reach it.
func TestStaleEvent(t *testing.T) {
	l := newStopped(t)
	owned := func() int { // newConn takes it over
		a, _ := socketPair(t)
		fd, err := unix.Dup(a)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	first, err := l.newConn(owned(), nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	fd := first.fd
	l.events[0] = event{fd: fd, gen: l.slots[fd].gen, readable: true, writable: true, eof: true}
	first.closeNow()
	l.dispatch(1) // for nobody

	next := owned()
	if next != fd {
		if err := unix.Dup2(next, fd); err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
	}
	second, err := l.newConn(fd, nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer second.closeNow()
	second.wr.ready = false
	l.dispatch(1)
	if second.rd.ready || second.wr.ready {
		t.Error("the event of a connection that was closed has reached the next one")
	}
	l.events[0].gen = l.slots[fd].gen
	l.dispatch(1)
	if !second.rd.ready || !second.wr.ready {
		t.Error("its own event has not reached it")
	}
}
