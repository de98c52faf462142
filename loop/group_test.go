package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// newGroup returns a group that is running, and is shut down when the test
// ends.
func newGroup(t *testing.T, n int, cfg loop.Config) *loop.Group {
	t.Helper()
	testkit.CheckLeaks(t)
	if cfg.BlockedAfter == 0 {
		cfg.BlockedAfter = -1 // the machine may be busy
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = -1 // or a busy machine turns clients away
	}
	g, err := loop.NewGroup(n, cfg)
	if errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(context.Background()) }()
	for _, l := range g.Loops() {
		looptest.Call(t, l, func() {})
	}
	t.Cleanup(func() {
		looptest.ShutDown(t, g)
		if err := testkit.Receive(t, ran); err != nil {
			t.Errorf("Run: %v", err)
		}
		looptest.WantNothingLeft(t, g)
	})
	return g
}

// named says which loop serves, and keeps the connection.
var named = loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
	if l, ok := loop.FromContext(ctx); !ok || c.Loop() != l {
		return errors.New("the connection is of another loop")
	}
	if _, err := fmt.Fprintf(c, "%p\n", c.Loop()); err != nil {
		return err
	}
	return c.Park(echo)
})

func TestGroupInvalid(t *testing.T) {
	for _, n := range []int{0, -1} {
		if _, err := loop.NewGroup(n, loop.Config{}); !errors.Is(err, loop.ErrInvalidConfig) {
			t.Errorf("NewGroup(%d): %v", n, err)
		}
	}
	if _, err := loop.NewGroup(2, loop.Config{MaxJobs: -1}); !errors.Is(err, loop.ErrInvalidConfig) {
		t.Errorf("NewGroup of an invalid Config: %v", err)
	}
}

// Whoever deals the connections, the kernel or one of the loops, every loop
// gets some.
func TestGroupDeals(t *testing.T) {
	tests := []struct {
		name   string
		listen func(t *testing.T, g *loop.Group) (*loop.GroupListener, error)
		even   bool
	}{
		{"kernel", func(_ *testing.T, g *loop.Group) (*loop.GroupListener, error) {
			return g.Listen("tcp", "127.0.0.1:0", named)
		}, false},
		{"Unix socket", func(t *testing.T, g *loop.Group) (*loop.GroupListener, error) {
			return g.Listen("unix", filepath.Join(t.TempDir(), "s"), named)
		}, true},
		{"Serve", func(t *testing.T, g *loop.Group) (*loop.GroupListener, error) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return g.Serve(ln, named)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const loops, conns = 3, 60
			g := newGroup(t, loops, loop.Config{})
			ln, err := tt.listen(t, g)
			if err != nil {
				t.Fatal(err)
			}
			byLoop := map[string]int{}
			for range conns {
				c := testkit.Dial(t, ln.Addr())
				name := make([]byte, len(fmt.Sprintf("%p\n", g.Loops()[0])))
				if _, err := io.ReadFull(c, name); err != nil {
					t.Fatal(err)
				}
				byLoop[string(name)]++
				send(t, c, "x")
				testkit.WantRead(t, c, "x")
			}
			if len(byLoop) != loops {
				t.Errorf("%d loops got connections, want %d: %v", len(byLoop), loops, byLoop)
			}
			for name, n := range byLoop {
				if tt.even && n < conns/loops/2 {
					t.Errorf("loop %s got %d connections of %d", strings.TrimSpace(name), n, conns)
				}
			}
			for _, l := range g.Loops() {
				looptest.Settle(t, l)
			}
			if s := g.Stats(); s.Accepted != conns || s.Conns != conns {
				t.Errorf("%+v, want %d connections", s, conns)
			}
			if err := ln.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the second Close: %v, want %v", err, net.ErrClosed)
			}
			for _, l := range g.Loops() {
				looptest.Settle(t, l)
			}
			wantRefused(t, ln.Addr())
		})
	}
}

// Each loop can go on with a session that another one has begun.
func TestGroupResumesSessions(t *testing.T) {
	g := newGroup(t, 2, loop.Config{})
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Serve(given, resumedBy(serverConfig()))
	if err != nil {
		t.Fatal(err)
	}
	cfg := clientConfig()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	loops := map[string]bool{}
	for i := range 20 {
		b, err := io.ReadAll(tls.Client(testkit.Dial(t, ln.Addr()), cfg))
		if err != nil {
			t.Fatal(err)
		}
		resumed, by, _ := strings.Cut(string(b), " ")
		loops[by] = true
		if want := fmt.Sprint(i > 0); resumed != want {
			t.Errorf("connection %d: resumed %s, want %s", i, resumed, want)
		}
	}
	if len(loops) != 2 {
		t.Errorf("%d loops served, want 2", len(loops))
	}
}

// With every loop full, connections wait in the backlog until one has room.
func TestGroupFull(t *testing.T) {
	for _, serve := range []bool{false, true} {
		t.Run(fmt.Sprintf("Serve %t", serve), func(t *testing.T) {
			const loops, conns = 2, 12
			g := newGroup(t, loops, loop.Config{MaxJobs: 1})
			h := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
				if _, err := io.WriteString(c, "hello"); err != nil {
					return err
				}
				return readAll(c, "bye")
			})
			ln, err := g.Listen("tcp", "127.0.0.1:0", h)
			if serve {
				ln.Close()
				var given net.Listener
				if given, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				ln, err = g.Serve(given, h)
			}
			if err != nil {
				t.Fatal(err)
			}
			var all []net.Conn
			for range conns {
				all = append(all, testkit.Dial(t, ln.Addr()))
			}
			testkit.Eventually(t, "a loop is full", func() bool { return g.Stats().JobsPaused > 0 })
			for _, l := range g.Loops() {
				wantFewTurns(t, l)
			}
			if n := g.Stats().Accepted; n > loops {
				t.Errorf("%d connections accepted for %d jobs", n, loops)
			}
			done := make(chan error, conns)
			for _, c := range all {
				go func() {
					b := make([]byte, 5)
					_, err := io.ReadFull(c, b)
					if err == nil {
						_, err = io.WriteString(c, "bye")
					}
					if err == nil {
						_, err = c.Read(b)
					}
					done <- err
				}()
			}
			for range conns {
				if err := testkit.Receive(t, done); err != io.EOF {
					t.Errorf("a connection ended with %v", err)
				}
			}
		})
	}
}

// Connections on their way from one loop to another when the group is closed.
func TestGroupClosedWhileDealing(t *testing.T) {
	g := newGroup(t, 2, loop.Config{})
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Serve(given, echo)
	if err != nil {
		t.Fatal(err)
	}
	blocked, release := make(chan bool), make(chan bool)
	if err := g.Loops()[1].Post(func() { close(blocked); <-release }); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, blocked)
	const n = 10
	for range n {
		testkit.Dial(t, ln.Addr())
	}
	testkit.Eventually(t, "all are accepted", func() bool { return g.Loops()[0].Stats().Accepted == n })
	g.Close()
	close(release)
}

func TestGroupRunEnds(t *testing.T) {
	t.Run("context", func(t *testing.T) {
		testkit.CheckLeaks(t)
		g, err := loop.NewGroup(2, loop.Config{})
		if err != nil {
			t.Skip(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- g.Run(ctx) }()
		looptest.Call(t, g.Loops()[1], func() {})
		cancel()
		if err := testkit.Receive(t, ran); err != context.Canceled {
			t.Errorf("Run: %v, want %v", err, context.Canceled)
		}
	})
	t.Run("one fails", func(t *testing.T) {
		testkit.CheckLeaks(t)
		g, err := loop.NewGroup(3, loop.Config{})
		if err != nil {
			t.Skip(err)
		}
		g.Loops()[1].Close() // its Run will fail
		if err := g.Run(context.Background()); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("Run: %v, want %v", err, loop.ErrClosed)
		}
	})
	t.Run("Shutdown gives up", func(t *testing.T) {
		g := newGroup(t, 2, loop.Config{})
		sleeping := make(chan bool)
		g.Loops()[1].Go(func(ctx context.Context) error {
			close(sleeping)
			return loop.Sleep(ctx, time.Hour)
		})
		testkit.Receive(t, sleeping)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		if err := g.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
		}
	})
	t.Run("never run", func(t *testing.T) {
		testkit.CheckLeaks(t)
		g, err := loop.NewGroup(2, loop.Config{})
		if err != nil {
			t.Skip(err)
		}
		if _, err := g.Listen("tcp", "127.0.0.1:0", echo); err != nil {
			t.Error(err)
		}
		g.Close()
	})
}

// occupying has its job until the client leaves. on tells which loop it is on.
func occupying(on func(c *loop.Conn)) loop.Handler {
	return loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		on(c)
		if _, err := io.WriteString(c, "+"); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, c)
		return err
	})
}

// A loop that is full passes connections on while another one has room.
func TestGroupPassesOn(t *testing.T) {
	const loops, most = 2, 10
	g := newGroup(t, loops, loop.Config{MaxJobs: most})
	var mu sync.Mutex
	on := make(map[*loop.Loop]int)
	ln, err := g.Listen("tcp", "127.0.0.1:0", occupying(func(c *loop.Conn) {
		mu.Lock()
		on[c.Loop()]++
		mu.Unlock()
	}))
	if err != nil {
		t.Fatal(err)
	}
	for range loops * most {
		testkit.WantRead(t, testkit.Dial(t, ln.Addr()), "+")
	}
	mu.Lock()
	defer mu.Unlock()
	for l, n := range on {
		if n != most {
			t.Errorf("loop %p serves %d, want %d", l, n, most)
		}
	}
}

// When all are full and, long after, one has room again, it serves whoever waits,
// whichever loop's listener that is.
func TestGroupPassesOnLater(t *testing.T) {
	const late = 6
	g := newGroup(t, 2, loop.Config{MaxJobs: 1})
	ln, err := g.Listen("tcp", "127.0.0.1:0", occupying(func(*loop.Conn) {}))
	if err != nil {
		t.Fatal(err)
	}
	one, other := testkit.Dial(t, ln.Addr()), testkit.Dial(t, ln.Addr())
	testkit.WantRead(t, one, "+")
	testkit.WantRead(t, other, "+")
	served := make(chan net.Conn, late)
	for range late {
		c := testkit.Dial(t, ln.Addr())
		go func() {
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				served <- c
			}
		}()
	}
	turns := g.Stats().Turns
	testkit.Eventually(t, "a loop looks again and again", func() bool { return g.Stats().Turns > turns+5 })
	// Only one of the loops becomes free, time and again.
	free := one
	for range late {
		free.Close()
		free = testkit.Receive(t, served)
	}
}
