package testkit

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// Dial connects, and closes the connection when the test ends. Nothing the
// connection does takes longer than Patience.
func Dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(addr.Network(), addr.String(), Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(Patience))
	return c
}

// Reset closes a TCP connection so that the peer gets a RST. A Unix socket,
// which has none, is only closed.
func Reset(c net.Conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		c.SetLinger(0) // it fails if the connection is over already
	case *net.UnixConn:
	default:
		panic(fmt.Sprintf("testkit.Reset: a %T", c))
	}
	c.Close()
}
