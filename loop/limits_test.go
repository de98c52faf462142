package loop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// wantReset connects, and proves that the connection is reset.
func wantReset(t testing.TB, addr net.Addr) {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err == nil { // or the reset has come already
		defer c.Close()
		c.SetDeadline(time.Now().Add(testkit.Patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%v, want a reset", err)
	}
}

// welcome shows which connections are served.
var welcome = loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
	if _, err := io.WriteString(c, "+"); err != nil {
		return err
	}
	_, err := io.Copy(c, c)
	return err
})

func TestMaxConns(t *testing.T) {
	tests := []struct {
		name    string
		cfg     loop.Config
		refused func(loop.Stats) uint64
	}{
		{"MaxConns", loop.Config{MaxConns: 2}, func(s loop.Stats) uint64 { return s.RefusedConns }},
		{"MaxConnsPerAddress", loop.Config{MaxConnsPerAddress: 2}, func(s loop.Stats) uint64 { return s.RefusedAddress }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGroup(t, 2, tt.cfg) // whose loops count together
			ln, err := g.Listen("tcp", "127.0.0.1:0", welcome)
			if err != nil {
				t.Fatal(err)
			}
			var cs []net.Conn
			for range 2 {
				c := testkit.Dial(t, ln.Addr())
				testkit.WantRead(t, c, "+")
				cs = append(cs, c)
			}
			for range 4 {
				wantReset(t, ln.Addr())
			}
			testkit.Eventually(t, "four are counted as refused", func() bool { return tt.refused(g.Stats()) == 4 })
			cs[0].Close()
			testkit.Eventually(t, "the loop has closed it too", func() bool { return g.Stats().Conns == 1 })
			testkit.WantRead(t, testkit.Dial(t, ln.Addr()), "+")
			wantReset(t, ln.Addr())
			testkit.Eventually(t, "all are counted as accepted", func() bool { return g.Stats().Accepted == 8 })
		})
	}
}

// Connections that only linger give way to new ones.
func TestMaxConnsAndLingering(t *testing.T) {
	const most = 20
	l := looptest.New(t, loop.Config{MaxConns: most})
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := io.WriteString(c, "+")
		return err
	}))
	for range most {
		testkit.WantRead(t, testkit.Dial(t, addr), "+")
	}
	testkit.Eventually(t, "all linger", func() bool { return looptest.Settle(t, l).Lingering == most })
	for range 2 * most { // each costs one of them its place, no more
		testkit.WantRead(t, testkit.Dial(t, addr), "+")
		testkit.Eventually(t, "it lingers instead", func() bool { return looptest.Settle(t, l).Lingering == most })
	}
}

// A limiter of the user's own sees who comes, and when they have gone.
func TestAcceptHook(t *testing.T) {
	var mu sync.Mutex
	open := make(map[string]int)
	full := false
	log := &testkit.Log{}
	l := looptest.New(t, loop.Config{
		Logger: log.Logger(),
		Accept: func(a net.Addr) bool {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := a.(*net.TCPAddr); !ok {
				panic("no address")
			}
			if full {
				return false
			}
			open[a.String()]++
			return true
		},
		Closed: func(a net.Addr) {
			mu.Lock()
			defer mu.Unlock()
			open[a.String()]--
		},
	})
	now := func(c net.Conn) int {
		mu.Lock()
		defer mu.Unlock()
		return open[c.LocalAddr().String()]
	}
	addr := looptest.Listen(t, l, welcome)
	c := testkit.Dial(t, addr)
	testkit.WantRead(t, c, "+")
	if now(c) != 1 {
		t.Error("Accept was not asked")
	}
	mu.Lock()
	full = true
	mu.Unlock()
	wantReset(t, addr)
	mu.Lock()
	if len(open) != 1 || open[c.LocalAddr().String()] != 1 {
		t.Errorf("open connections: %v, want one: Closed is for those that were accepted", open)
	}
	mu.Unlock()
	c.Close()
	testkit.Eventually(t, "Closed is called", func() bool { return now(c) == 0 })
	// A hook that panics refuses, and is told of.
	unix, err := l.Listen("unix", t.TempDir()+"/s", welcome)
	if err != nil {
		t.Fatal(err)
	}
	expectGone(t, testkit.Dial(t, unix.Addr()))
	if s := looptest.Settle(t, l); s.RefusedAccept != 2 {
		t.Errorf("%d were refused, want 2", s.RefusedAccept)
	}
	l.FlushLogs()
	if got := strings.Join(log.Lines(), "\n"); !strings.Contains(got, "Config.Accept panicked") {
		t.Errorf("the log has no panic: %s", got)
	}
}

// expectGone reads until the other end has closed the connection.
func expectGone(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read %d bytes, error %v, want the end", n, err)
	}
}

// A hook that panics at the end harms nobody.
func TestClosedHookPanics(t *testing.T) {
	log := &testkit.Log{}
	l := looptest.New(t, loop.Config{Logger: log.Logger(), MaxConns: 1, Closed: func(net.Addr) { panic("in Closed") }})
	addr := looptest.Listen(t, l, welcome)
	for range 3 {
		c := testkit.Dial(t, addr)
		testkit.WantRead(t, c, "+")
		c.Close()
		parked(t, l, 0)
	}
	l.FlushLogs()
	if got := strings.Join(log.Lines(), "\n"); !strings.Contains(got, "in Closed") {
		t.Errorf("the log has no panic: %s", got)
	}
}
