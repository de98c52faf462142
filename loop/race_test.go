package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// greeterOn is a greeter at an address of 127.0.0.0/8, which not every system has.
func greeterOn(t *testing.T, ip string) (port string) {
	t.Helper()
	return fmt.Sprint(greeter(t, "tcp4", ip+":0").(*net.TCPAddr).Port)
}

// freePort is a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// An address that refuses costs nothing: the next one is tried at once.
func TestDialNextAddress(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := greeterOn(t, "127.0.0.3")
	r := names(map[string][]string{"host.test": {"127.0.0.1", "127.0.0.2", "127.0.0.3"}})
	for _, delay := range []time.Duration{0, time.Hour, -1} {
		for _, block := range []bool{false, true} {
			if err := do(t, l, func(ctx context.Context) error {
				if j, _ := jobs.FromContext(ctx); block {
					j.BlockPause()
				}
				return greeted(ctx, &loop.Dialer{Resolver: r, FallbackDelay: delay, Timeout: time.Hour}, "tcp", "host.test.:"+port)
			}); err != nil {
				t.Errorf("FallbackDelay %v, pausing blocked %t: %v", delay, block, err)
			}
		}
	}
}

// If there is no connection, the error tells why, for each address.
func TestDialAllFail(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	closed, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Skip(err)
	}
	closed.Close()
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	r := names(map[string][]string{"host.test": {"127.0.0.2", "127.0.0.3"}})
	err = do(t, l, func(ctx context.Context) error {
		_, err := (&loop.Dialer{Resolver: r}).Dial(ctx, "tcp", "host.test.:"+port)
		return err
	})
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" || op.Net != "tcp" || op.Timeout() {
		t.Errorf("%v, want an OpError that is not a timeout", err)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want %v", err, syscall.ECONNREFUSED)
	}
	const refused = ": connect: connection refused"
	if want := "dial tcp: 127.0.0.2:" + port + refused + "; 127.0.0.3:" + port + refused; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Names, addresses and ports that Dial does not take, or not as package net does, and
// what is the same.
func TestDialAsPackageNet(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := greeter(t, "tcp4", "127.0.0.1:0").(*net.TCPAddr)
	port := fmt.Sprint(addr.Port)
	r := names(map[string][]string{"host.test": {"127.0.0.1"}, "both.test": {"127.0.0.1", "::1"}})
	long := strings.Repeat("a", 60)
	v4, v6 := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv6loopback}
	tests := []struct {
		network, address string
		local            net.Addr
		want             string // part of the error; empty: it succeeds
		differs          string // why package net's verdict is another
	}{
		{network: "tcp", address: "127.0.0.1:" + port},
		{network: "tcp", address: "127.0.0.1:+" + port},
		{network: "tcp", address: ":" + port},
		{network: "tcp", address: "0.0.0.0:" + port},
		{network: "tcp", address: "[::ffff:127.0.0.1]:" + port},
		{network: "tcp4", address: "[::ffff:127.0.0.1]:" + port},
		{network: "tcp", address: "[::]:" + port},
		{network: "tcp4", address: "[::]:" + port},
		{network: "tcp6", address: "0.0.0.0:" + port, want: "no suitable address for tcp6"},
		{network: "tcp", address: "[127.0.0.1]:" + port},
		{network: "tcp", address: "127.0.0.1.:" + port, want: "lookup 127.0.0.1."},
		{network: "tcp6", address: "[::ffff:127.0.0.1]:" + port, want: "no suitable address for tcp6"},
		{network: "tcp6", address: "127.0.0.1:" + port, want: "no suitable address for tcp6"},
		{network: "tcp4", address: "[::1]:" + port, want: "no suitable address for tcp4"},
		{network: "tcp", address: "host.test.:" + port},
		{network: "tcp", address: "HOST.test.:" + port, want: "no such host"}, // the name server is case-sensitive
		{network: "tcp6", address: "host.test.:" + port, want: "lookup host.test."},
		{network: "tcp", address: "other.test.:" + port, want: "lookup other.test."},

		{network: "tcp", address: "", want: "missing address"},
		{network: "tcp", address: "127.0.0.1", want: "missing port"},
		{network: "tcp", address: "127.0.0.1:", want: "missing port"},
		{network: "tcp", address: "::1:80", want: "too many colons"},
		{network: "tcp", address: "[::1:80", want: "missing ']'"},
		{network: "tcp", address: "127.0.0.1:65536", want: "address 65536: invalid port"},
		{network: "tcp", address: "127.0.0.1:-1", want: "address -1: invalid port"},
		{network: "tcp", address: "127.0.0.1:99999999999999999999", want: "invalid port"},
		{network: "tcp", address: "127.0.0.1:no-such-service", want: "lookup tcp/no-such-service: unknown port"},
		{network: "udp", address: "127.0.0.1:1", want: "unknown network udp", differs: "it has UDP"},

		{network: "tcp", address: "b\u00fccher.test:" + port, want: "not ASCII"},
		{network: "tcp", address: "a host.test:" + port, want: `invalid character ' '`},
		{network: "tcp", address: "host\x00.test:" + port, want: `"host\x00.test:` + port + `": invalid character '\x00'`},
		{network: "tcp", address: "127.0.0.1:h\nttp", want: `invalid character '\n'`},
		{network: "tcp", address: "host..test:" + port, want: "label of 0 bytes"},
		{network: "tcp", address: ".:" + port, want: "label of 0 bytes"},
		{network: "tcp", address: long + long + ".test:" + port, want: "label of 120 bytes"},
		{network: "tcp", address: strings.Repeat(long+".", 5) + "test:" + port, want: "name of 309 bytes"},
		{network: "tcp", address: strings.Repeat("a", 1<<20), want: "address of 1048576 bytes"},

		{network: "tcp", address: "[fe80::1%no-such-zone]:" + port, want: `unknown zone "no-such-zone"`},
		{network: "tcp", address: "[fe80::1%999999]:" + port, want: `unknown zone "999999"`},

		{network: "tcp", address: "127.0.0.1:" + port, local: v4},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.TCPAddr{}},
		{network: "tcp", address: "127.0.0.1:" + port, local: (*net.TCPAddr)(nil)},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.TCPAddr{IP: net.IPv4zero}},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.TCPAddr{IP: net.IPv6zero}},
		{network: "tcp", address: ":" + port, local: v6, want: "connect: connection refused"},
		{network: "tcp", address: "127.0.0.1:" + port, local: v6, want: "no suitable address to connect to from [::1]:0"},
		{network: "tcp", address: "[::1]:" + port, local: v4, want: "no suitable address to connect to from 127.0.0.1:0"},
		{network: "tcp", address: "both.test.:" + port, local: v4},
		{network: "tcp", address: "host.test.:" + port, local: v6, want: "no suitable address to connect to from [::1]:0"},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.TCPAddr{IP: net.IP{1, 2, 3}}, want: "invalid local address"},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.TCPAddr{Port: 70000}, want: "invalid port of the local address"},
		{network: "tcp", address: "[::1]:" + port, local: &net.TCPAddr{IP: net.IPv6loopback, Zone: "no-such-zone"}, want: `unknown zone "no-such-zone" of the local address`},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.UDPAddr{}, want: "mismatched local address type"},
		{network: "tcp", address: "127.0.0.1:" + port, local: &net.UnixAddr{Net: "unix", Name: "n"}, want: "mismatched local address type"},
	}
	for _, tt := range tests {
		err := do(t, l, func(ctx context.Context) error {
			return greeted(ctx, &loop.Dialer{LocalAddr: tt.local, Resolver: r}, tt.network, tt.address)
		})
		var op *net.OpError
		switch {
		case tt.want == "":
			if err != nil {
				t.Errorf("Dial(%s, %.80q) from %v: %v", tt.network, tt.address, tt.local, err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.want):
			t.Errorf("Dial(%s, %.80q) from %v: %v, want %s", tt.network, tt.address, tt.local, err, tt.want)
		case !errors.As(err, &op) || len(err.Error()) > 300:
			t.Errorf("Dial(%s, %.80q) from %v: %.300v, want an OpError of a reasonable size", tt.network, tt.address, tt.local, err)
		}
		d := net.Dialer{LocalAddr: tt.local, Resolver: r, Timeout: testkit.Patience}
		nc, nerr := d.Dial(tt.network, tt.address)
		if nerr == nil {
			nc.Close()
		}
		if (err == nil) == (nerr == nil) != (tt.differs == "") {
			t.Errorf("Dial(%s, %.80q) from %v: %v; package net: %v; why it may differ: %q", tt.network, tt.address, tt.local, err, nerr, tt.differs)
		}
	}
}

// The names of services are looked up.
func TestDialService(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for service, port := range map[string]string{"http": ":80", "https": ":443", "HTTPS": ":443"} {
		err := do(t, l, func(ctx context.Context) error {
			// An address that a machine cannot have: no connection is tried.
			c, err := (&loop.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}).Dial(ctx, "tcp", "192.0.2.2:"+service)
			if err == nil {
				c.Close()
			}
			return err
		})
		var op *net.OpError
		if !errors.As(err, &op) || op.Addr == nil || !strings.HasSuffix(op.Addr.String(), port) {
			t.Errorf("%s: %v, want port %s", service, err, port)
		}
	}
}

// A job that dials, and fails each time at once, keeps no other from running.
func TestDialLetsOthersRun(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	none := filepath.Join(t.TempDir(), "none")
	other := false
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		if err := l.Go(func(context.Context) error { other = true; return nil }); err != nil {
			return err
		}
		for i := 0; !other; i++ {
			if i == 10000 {
				return errors.New("no other job has run")
			}
			if _, err := loop.Dial(ctx, "unix", none); !errors.Is(err, syscall.ENOENT) {
				return err
			}
		}
		return nil
	})
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A dial that fails for a reason of its own ends no connection that lingers.
func TestDialLeavesLingering(t *testing.T) {
	l := looptest.New(t, loop.Config{LingerTimeout: time.Hour})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := c.Write([]byte("bye"))
		return err
	}))
	c := testkit.Dial(t, addr)
	testkit.WantRead(t, c, "bye")
	testkit.Eventually(t, "it lingers", func() bool { return l.Stats().Lingering == 1 })
	none := filepath.Join(t.TempDir(), "none")
	if err := do(t, l, func(ctx context.Context) error {
		_, err := loop.Dial(ctx, "unix", none)
		return err
	}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Dial: %v, want %v", err, syscall.ENOENT)
	}
	if n := looptest.Settle(t, l).Lingering; n != 1 {
		t.Errorf("%d connections linger, want 1", n)
	}
	c.Close()
}

// The names of Unix sockets.
func TestDialUnixNames(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	t.Chdir(t.TempDir())
	greeter(t, "unix", "s")
	unix := func(name string) net.Addr { return &net.UnixAddr{Name: name, Net: "unix"} }
	tests := []struct {
		address string
		local   net.Addr
		want    string // part of the error; empty: it succeeds
		differs string // why package net's verdict is another
	}{
		{address: "s"},
		{address: "s", local: unix("")},
		{address: "s", local: unix("mine")},
		{address: "s", local: unix("s"), want: "bind: address already in use"},
		{address: "", want: "missing address"},
		{address: strings.Repeat("n", 200), want: "the path has 200 bytes"},
		{address: "s", local: unix(strings.Repeat("n", 200)), want: "the path has 200 bytes"},
		{address: "s\x00t", want: `"s\x00t" has a NUL byte`, differs: "the kernel takes the NUL for the end"},
		{address: "none", want: "connect: no such file or directory"},
		{address: "s", local: &net.TCPAddr{}, want: "mismatched local address type"},
		{address: "s", local: &net.UnixAddr{Name: "mine2", Net: "unixgram"}, want: "mismatched local address type"},
		{address: "s", local: &net.UnixAddr{Name: "mine2"}, differs: "the network is clear without Net"},
	}
	for _, tt := range tests {
		err := do(t, l, func(ctx context.Context) error {
			return greeted(ctx, &loop.Dialer{LocalAddr: tt.local}, "unix", tt.address)
		})
		var op *net.OpError
		if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &op) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Dial(%.80q) from %.80v: %v, want %q", tt.address, tt.local, err, tt.want)
		}
		local := tt.local
		if a, ok := local.(*net.UnixAddr); ok && a != nil && err == nil && a.Name != "" {
			local = &net.UnixAddr{Name: a.Name + ".2", Net: a.Net} // the first is taken now
		}
		nc, nerr := (&net.Dialer{LocalAddr: local}).Dial("unix", tt.address)
		if nerr == nil {
			nc.Close()
		}
		if (err == nil) == (nerr == nil) != (tt.differs == "") {
			t.Errorf("Dial(%.80q) from %.80v: %v; package net: %v; why it may differ: %q", tt.address, tt.local, err, nerr, tt.differs)
		}
	}
}
