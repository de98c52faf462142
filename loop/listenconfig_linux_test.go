package loop

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
)

// run runs a new loop until the test ends. What it logs is in the log.
func run(t *testing.T, cfg Config) (*Loop, *testkit.Log) {
	t.Helper()
	testkit.CheckLeaks(t)
	log := new(testkit.Log)
	cfg.Logger, cfg.MaxWait, cfg.BlockedAfter = log.Logger(), -1, -1
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	t.Cleanup(func() { l.Close(); <-ended })
	return l, log
}

func option(t *testing.T, fd, level, opt int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, opt)
	if err != nil {
		t.Error(err)
	}
	return v
}

// The kernel has the options, of the socket and of the connections.
func TestListenConfigInKernel(t *testing.T) {
	l, _ := run(t, Config{})
	type kept struct{ on, idle, interval int }
	conns := make(chan kept, 1)
	h := HandlerFunc(func(_ context.Context, c *Conn) error {
		conns <- kept{option(t, c.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE), option(t, c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(t, c.fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)}
		return nil
	})
	lc := &ListenConfig{KeepAlive: 89*time.Second + 1, DeferAccept: time.Second, FastOpen: 77}
	n, err := lc.Listen(l, "tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	if v := option(t, n.fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN); v != 77 {
		t.Errorf("TCP_FASTOPEN is %d, want 77", v)
	}
	if v := option(t, n.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT); v != 1 {
		t.Errorf("TCP_DEFER_ACCEPT is %d, want 1", v)
	}
	c := testkit.Dial(t, n.Addr())
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, want := testkit.Receive(t, conns), (kept{1, 90, 90}); got != want {
		t.Errorf("keep-alive %+v, want %+v", got, want)
	}
	c.Close()

	plain, err := l.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Dial(t, plain.Addr())
	if got := testkit.Receive(t, conns); got.on != 0 {
		t.Errorf("keep-alive is on: %+v", got)
	}
}

// A backlog that the system cuts short is logged, with both numbers. One that it keeps is
// not.
func TestBacklogIsCutShort(t *testing.T) {
	name, limit := backlogLimit()
	if limit == 0 {
		t.Skip("the limit is not known")
	}
	for _, network := range []string{"tcp", "unix"} {
		l, log := run(t, Config{Backlog: limit + 1000})
		listen := func(l *Loop) *Listener {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			n, err := l.Listen(network, address, HandlerFunc(func(context.Context, *Conn) error { return nil }))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		n := listen(l)
		if n.backlog != 0 && n.backlog != limit {
			t.Errorf("the backlog is %d, want %d", n.backlog, limit)
		}
		wantLogged(t, l, log, name, n.Addr().String(), limit, limit+1000)
		n.Close()
		l, log = run(t, Config{Backlog: limit})
		listen(l)
		l.FlushLogs()
		if s := log.String(); s != "" {
			t.Errorf("logged: %s", s)
		}
	}
}

// So is an option that the system has, and has turned off.
func TestFastOpenIsOff(t *testing.T) {
	bits, ok := sysctl("net.ipv4.tcp_fastopen")
	if !ok {
		t.Skip("the setting is not known")
	}
	l, log := run(t, Config{})
	lc := &ListenConfig{FastOpen: 16}
	h := HandlerFunc(func(context.Context, *Conn) error { return nil })
	if _, err := lc.Listen(l, "tcp", "127.0.0.1:0", h); err != nil {
		t.Fatal(err)
	}
	if bits&2 != 0 {
		l.FlushLogs()
		if s := log.String(); s != "" {
			t.Errorf("logged: %s", s)
		}
		return
	}
	wantLogged(t, l, log, "net.ipv4.tcp_fastopen", bits)
}

// With DeferAccept a client that says nothing is not accepted.
func TestDeferAccept(t *testing.T) {
	l, _ := run(t, Config{})
	lc := &ListenConfig{DeferAccept: time.Hour}
	served := make(chan string, 2)
	h := HandlerFunc(func(_ context.Context, c *Conn) error { served <- c.RemoteAddr().String(); return nil })
	n, err := lc.Listen(l, "tcp", "127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	silent, speaks := testkit.Dial(t, n.Addr()), testkit.Dial(t, n.Addr())
	defer silent.Close()
	if _, err := speaks.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{speaks, silent} { // speaks came later
		if got, want := testkit.Receive(t, served), c.LocalAddr().String(); got != want {
			t.Errorf("%s is served, want %s", got, want)
		}
		silent.Write([]byte("x"))
	}
}

// Connections that are left after Close, and for which there is no room in time, are
// reset.
func TestLastCallTimeout(t *testing.T) {
	l, _ := run(t, Config{MaxJobs: 1})
	end, busy := make(chan bool), make(chan bool)
	if err := l.Go(func(ctx context.Context) error {
		return Await(ctx, func(done func()) { close(busy); go func() { <-end; done() }() })
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, busy)
	n, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(context.Context, *Conn) error { t.Error("it is served"); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	c := testkit.Dial(t, n.Addr())
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	l.Post(func() {
		if len(n.serving) != 1 || n.reviews.index == 0 {
			t.Errorf("%d connections are left, timer set: %t", len(n.serving), (n.reviews.index != 0))
		}
		n.reviews.owner.expire(0)
	})
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("read: %v", err)
	}
	close(end)
}

// wantLogged proves that one line was logged, with all of parts.
func wantLogged(t *testing.T, l *Loop, log *testkit.Log, parts ...any) {
	t.Helper()
	l.FlushLogs()
	lines := log.Lines()
	if len(lines) != 1 {
		t.Fatalf("%d lines were logged: %q", len(lines), lines)
	}
	for _, p := range parts {
		if !strings.Contains(lines[0], fmt.Sprint(p)) {
			t.Errorf("%q does not contain %v", lines[0], p)
		}
	}
}

// A group says it once, and not for each of its sockets.
func TestBacklogIsCutShortInGroup(t *testing.T) {
	name, limit := backlogLimit()
	if limit == 0 {
		t.Skip("the limit is not known")
	}
	testkit.CheckLeaks(t)
	log := new(testkit.Log)
	g, err := NewGroup(3, Config{Backlog: limit + 1000, Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	n, err := g.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(context.Context, *Conn) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	wantLogged(t, g.loops[0], log, name, n.Addr().String(), limit, limit+1000)
}
