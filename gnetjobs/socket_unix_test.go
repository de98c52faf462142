//go:build unix

package gnetjobs_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
)

// TestSocket proves that gnet.Socket's methods reach the socket.
func TestSocket(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		_, client := onLoop(t, wrap, dial, func(_ *server, c gnet.Conn) {
			fd, err := c.Dup()
			if err != nil {
				t.Errorf("Dup: %v", err)
				return
			}
			defer syscall.Close(fd)
			var a, b syscall.Stat_t
			if err := errors.Join(syscall.Fstat(c.Fd(), &a), syscall.Fstat(fd, &b)); err != nil || a.Ino != b.Ino || fd == c.Fd() {
				t.Errorf("Fd is %d, Dup %d, which are inodes %d and %d; %v", c.Fd(), fd, a.Ino, b.Ino, err)
			}
			for _, on := range []bool{true, false} {
				if err := c.SetNoDelay(on); err != nil {
					t.Errorf("SetNoDelay: %v", err)
				}
				if v, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY); (v != 0) != on || err != nil {
					t.Errorf("SetNoDelay(%t): the option is %d, %v", on, v, err)
				}
			}
			if err := errors.Join(
				c.SetReadBuffer(100_000),
				c.SetWriteBuffer(100_000),
				c.SetLinger(-1),
				c.SetKeepAlivePeriod(time.Minute),
				c.SetKeepAlive(true, time.Minute, time.Minute, 3),
			); err != nil {
				t.Error(err)
			}
			if v, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); v == 0 || err != nil {
				t.Errorf("SetKeepAlive: the option is %d, %v", v, err)
			}
		})
		wantEcho(t, client, "still there")
	})
}
