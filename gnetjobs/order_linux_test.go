package gnetjobs_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// established counts the connections of a server's port on 127.0.0.1 whose client
// has neither reset nor ended them, as the kernel has it.
func established(t *testing.T, addr string) (n int) {
	t.Helper()
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf("0100007F:%04X", a.Port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 3 && f[1] == local && f[3] == "01" {
			n++
		}
	}
	return n
}

// TestGoneCostNothing proves that no handshake begins for clients that have gone,
// although gnet has read their ClientHello and does not know yet.
func TestGoneCostNothing(t *testing.T) {
	for name, leave := range map[string]func(net.Conn){"reset": testkit.Reset, "end": closeConn} {
		t.Run(name, func(t *testing.T) {
			const clients = 200
			hello := clientHello(t)
			var handshakes handshakeLog
			var begun atomic.Int64
			g := newStopper()
			s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action { g.onTraffic(c); return gnet.None }},
				withConfig(busyConfig(func() { begun.Add(1) }), gnetjobs.Options{HandshakeTimeout: -1, OnHandshake: handshakes.add}))
			g.client = s.dialTLS(t, clientConfig(tls.VersionTLS13))
			conns := s.dialSome(t, clients+1)
			g.stop(t)
			if _, err := conns[0].Write(hello); err != nil { // so that the others do not find the loop idle
				t.Fatal(err)
			}
			for _, conn := range conns[1:] {
				if _, err := conn.Write(hello); err != nil {
					t.Fatal(err)
				}
				leave(conn)
			}
			testkit.Eventually(t, "the kernel knows that they have gone", func() bool { return established(t, s.addr) == 2 })
			close(g.open)
			testkit.Eventually(t, "gnet knows, and has told of all", func() bool {
				_, bad := handshakes.count()
				return s.connections() == 2 && bad == clients
			})
			if good, bad := handshakes.count(); begun.Load() != 2 || good != 1 {
				t.Errorf("%d handshakes have begun, %d succeeded and %d failed; want 2, 1 and %d", begun.Load(), good, bad, clients)
			}
		})
	}
}
