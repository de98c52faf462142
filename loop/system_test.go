//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"context"
	"log/slog"
	"math/bits"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/waitctx"
)

// What systems do differently, and package loop has to make the same.

// A buffer of more than 2 GiB-1 is read into all the same.
func TestReadIntoHugeBuffer(t *testing.T) {
	if bits.UintSize < 64 {
		t.Skip("there is no such buffer")
	}
	size := int64(1) << 31
	huge, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(huge)
	a, b := socketPair(t)
	writeByte(t, b)
	if n, err := sysRead(a, huge); n != 1 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

// What is no descriptor is not ready.
func TestPollOfNoDescriptor(t *testing.T) {
	if ready, err := sysPoll(1<<20, waitctx.Readable, 0); ready || !isErrno(err, unix.EBADF) {
		t.Errorf("ready %t, %v, want %v", ready, err, unix.EBADF)
	}
}

// A connect that has failed does not wait for ever when something else has taken
// the error.
func TestConnectErrorTaken(t *testing.T) {
	ln, err := socket(unix.AF_INET, unix.SOCK_STREAM) // nobody listens
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sysConnect(sa, nil)
	if err != nil {
		t.Skipf("refused at once: %v", err)
	}
	defer unix.Close(fd)
	if ready, err := sysPoll(fd, waitctx.Writable, far); !ready || err != nil {
		t.Fatalf("ready %t, %v", ready, err)
	}
	if errno := sysSocketError(fd); errno != unix.ECONNREFUSED {
		t.Fatalf("the error is %v", errno)
	}
	if peer, err := sysConnected(fd); peer != nil || err == nil {
		t.Errorf("connected to %v, error %v, want an error", peer, err)
	}
}

// A connect that waits is not taken for one that has failed.
func TestConnectWaits(t *testing.T) {
	fd, err := socket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 16 { // until the backlog is full
		c, err := sysConnect(sa, nil)
		if err != nil {
			t.Skipf("refused: %v", err)
		}
		defer unix.Close(c)
		peer, err := sysConnected(c)
		if err != nil {
			t.Fatalf("connecting: %v", err)
		}
		if peer == nil {
			return
		}
	}
	t.Skip("the backlog is never full")
}

// A connection that was reset before it was accepted has a local address still.
func TestLocalAddrAfterReset(t *testing.T) {
	testkit.CheckLeaks(t)
	l, err := New(Config{Logger: slog.New(slog.DiscardHandler), MaxWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	defer func() {
		l.Close()
		testkit.Receive(t, ran)
	}()
	fd, err := socket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "")
	ln, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	// Not as TCP: on Linux the kernel says that the client has gone, and nobody serves it.
	n := &Listener{l: l, addr: addr, handler: HandlerFunc(func(context.Context, *Conn) error { return nil })}
	if n.fd, err = dupSocket(ln); err != nil {
		t.Fatal(err)
	}
	defer sysClose(n.fd)
	ln.Close()
	n.queue = l.queue
	client, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port)), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
	got := make(chan net.Addr, 1)
	if err := l.Post(func() {
		defer close(got)
		if ready, err := sysPoll(n.fd, waitctx.Readable, far); !ready || err != nil {
			t.Errorf("nothing to accept: %v", err)
			return
		}
		c, remote, err := accept(n.fd)
		if err != nil {
			t.Logf("not accepted: %v", err)
			return
		}
		if ready, err := sysPoll(c, waitctx.Readable, far); !ready || err != nil { // for the reset
			t.Errorf("never reset: %v", err)
		}
		l.reserveRoom()
		if n.accepted(l, c, remote) {
			got <- l.slots[c].conn.LocalAddr()
		}
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case a, ok := <-got:
		if tcp, is := a.(*net.TCPAddr); ok && (!is || tcp.Port != addr.Port) {
			t.Errorf("the local address is %v, want port %d", a, addr.Port)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("the loop does not answer")
	}
}
