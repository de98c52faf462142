package tcpinfo

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	if err := unix.Listen(fd, 16); err != nil {
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
		if n, ok := Queue(ln); !ok || n != want {
			t.Fatalf("%d, %t; want %d", n, ok, want)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	accept(t, ln)
	if n, ok := Queue(ln); !ok || n != 3 {
		t.Fatalf("%d, %t after one was accepted; want 3", n, ok)
	}
	if _, ok := Queue(accept(t, ln)); ok {
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
