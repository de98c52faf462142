//go:build unix

package gnetjobs_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// reservedPort returns an address with a port that the system has given. A gnet
// engine of several loops with SO_REUSEPORT binds each of them, so that it
// cannot ask for any port; until the test ends, a socket that is bound too, and
// does not listen, keeps others away.
func reservedPort(t *testing.T) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	syscall.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("tcp://%s:%d", net.IPv4(127, 0, 0, 1), sa.(*unix.SockaddrInet4).Port)
}
