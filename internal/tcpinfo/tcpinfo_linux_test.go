package tcpinfo

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const backlog = 16

// listen returns a listening socket that nothing but the test accepts from.
func listen(t *testing.T) (fd int, addr string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port}).String()
}

func accept(t *testing.T, ln int) int {
	t.Helper()
	fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestQueueCountsWhoWaits(t *testing.T) {
	ln, addr := listen(t)
	for want := range 4 {
		if q, ok := QueueOf(ln); !ok || q.Waiting != want || q.Limit != backlog || q.Dropped != 0 {
			t.Fatalf("%+v, %t; want %d waiting, of %d", q, ok, want, backlog)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	accept(t, ln)
	if q, ok := QueueOf(ln); !ok || q.Waiting != 3 {
		t.Fatalf("%+v, %t after one was accepted; want 3 waiting", q, ok)
	}
	if _, ok := QueueOf(accept(t, ln)); ok {
		t.Fatal("a connection has a queue")
	}
}

// What a client sends does not make its connection younger.
func TestAgeIsSinceTheHandshake(t *testing.T) {
	ln, addr := listen(t)
	began := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connected := time.Now()
	fd := accept(t, ln)
	const jiffy = 10 * time.Millisecond // the longest there is
	for time.Since(connected) < 10*jiffy {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		least := time.Since(connected) - 2*jiffy
		w, ok := Of(fd)
		if most := time.Since(began) + 2*jiffy; !ok || w.Age < least || w.Age > most {
			t.Fatalf("age %v, %t; want between %v and %v", w.Age, ok, least, most)
		}
		if w.Closed || w.Ended {
			t.Fatalf("%+v of a connection that is open", w)
		}
		time.Sleep(time.Millisecond) // not to fill the buffer
	}
}

func TestWhoHasGone(t *testing.T) {
	ln, addr := listen(t)
	for _, reset := range []bool{false, true} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if reset {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		if w, ok := Of(accept(t, ln)); !ok || !w.Ended || w.Closed != reset {
			t.Errorf("%+v, %t; want ended, and closed %t", w, ok, reset)
		}
	}
}

func TestDropsAreCounted(t *testing.T) {
	ln, addr := listen(t)
	for range backlog + 1 { // the kernel takes one more than it is told
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond); err == nil {
		c.Close()
		t.Fatal("the queue is not full")
	}
	if q, ok := QueueOf(ln); !ok || q.Waiting != backlog+1 || q.Dropped == 0 {
		t.Errorf("%+v, %t; want a full queue, and drops", q, ok)
	}
}
