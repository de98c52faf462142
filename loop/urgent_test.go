//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A read stops at the mark of urgent data, with more in the buffer behind it;
// and on a Unix socket at the end of what descriptors were sent with. Neither
// is taken for the end of what there is.
func TestReadStopsShort(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			got := make(chan error, 1)
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = t.TempDir() + "/s"
			}
			sent := make(chan bool)
			ln, err := l.Listen(network, addr, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
				<-sent // the whole loop waits: all is in the buffer
				got <- readAll(c, "abcdef")
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			c := testkit.Dial(t, ln.Addr())
			send(t, c, "abc")
			if network == "tcp" {
				raw(t, c.(*net.TCPConn), func(fd int) error { return unix.Sendto(fd, []byte("X"), unix.MSG_OOB, nil) })
				send(t, c, "def")
			} else {
				raw(t, c.(*net.UnixConn), func(fd int) error {
					return unix.Sendmsg(fd, []byte("d"), unix.UnixRights(fd), nil, 0)
				})
				send(t, c, "ef")
			}
			close(sent)
			if err := testkit.Receive(t, got); err != nil {
				t.Error(err)
			}
		})
	}
}

func raw(t *testing.T, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil || ferr != nil {
		t.Fatal(err, ferr)
	}
}
