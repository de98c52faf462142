package loop_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// wantFree proves that the address is free at once.
func wantFree(t testing.TB, addr net.Addr) {
	t.Helper()
	ln, err := net.Listen(addr.Network(), addr.String())
	if err != nil {
		t.Errorf("after Close: %v", err)
		return
	}
	ln.Close()
}

// When Close returns, the address is free, wherever it is called and whatever the loop
// does.
func TestListenerCloseFreesAddress(t *testing.T) {
	type closer interface {
		Addr() net.Addr
		Close() error
	}
	check := func(t testing.TB, ln closer) {
		if err := ln.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantFree(t, ln.Addr())
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the second Close: %v, want %v", err, net.ErrClosed)
		}
	}
	for _, network := range []string{"tcp", "unix"} {
		address := func(t *testing.T) string {
			if network == "unix" {
				return filepath.Join(t.TempDir(), "s")
			}
			return "127.0.0.1:0"
		}
		listen := func(t *testing.T, l *loop.Loop) *loop.Listener {
			t.Helper()
			ln, err := l.Listen(network, address(t), echo)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}
		serve := func(t *testing.T, l *loop.Loop) *loop.Listener {
			t.Helper()
			given, err := net.Listen(network, address(t))
			if err != nil {
				t.Fatal(err)
			}
			ln, err := l.Serve(given, echo)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}
		for made, listen := range map[string]func(*testing.T, *loop.Loop) *loop.Listener{"Listen": listen, "Serve": serve} {
			run := func(where string, f func(t *testing.T)) { t.Run(network+" "+made+" "+where, f) }
			run("any goroutine", func(t *testing.T) { check(t, listen(t, looptest.New(t, loop.Config{}))) })
			run("job", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				looptest.Must(t, l, func(context.Context) error { check(t, ln); return nil })
			})
			run("loop's goroutine", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				looptest.Call(t, l, func() { check(t, ln) })
			})
			run("before Run", func(t *testing.T) {
				l := looptest.NewIdle(t, loop.Config{})
				check(t, listen(t, l))
				looptest.Start(t, l)
			})
			run("never run", func(t *testing.T) {
				l := looptest.NewIdle(t, loop.Config{})
				ln := listen(t, l)
				c := testkit.Dial(t, ln.Addr())
				check(t, ln)
				l.Close()
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("a client of a loop that never ran reads something")
				}
			})
			run("thread blocked", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				release := hold(t, l)
				defer release()
				check(t, ln)
			})
			run("clients waiting", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				release := hold(t, l)
				c := testkit.Dial(t, ln.Addr())
				check(t, ln)
				release()
				send(t, c, "served")
				testkit.WantRead(t, c, "served")
			})
			run("loop has ended", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				looptest.ShutDown(t, l)
				if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Close: %v, want %v", err, net.ErrClosed)
				}
				wantFree(t, ln.Addr())
			})
			run("loop is ending", func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				ln := listen(t, l)
				release := hold(t, l)
				defer release()
				l.Close()
				check(t, ln)
			})
			run("Shutdown has begun", func(t *testing.T) {
				l := looptest.New(t, loop.Config{MaxJobs: 1})
				ln := listen(t, l)
				end := make(chan bool)
				done := looptest.Spawn(t, l, func(ctx context.Context) error {
					return loop.Await(ctx, func(done func()) { go func() { <-end; done() }() })
				})
				testkit.Eventually(t, "the job runs", func() bool { return looptest.Settle(t, l).JobsPaused == 1 })
				c := testkit.Dial(t, ln.Addr())
				ended := make(chan bool)
				go func() { defer close(ended); looptest.ShutDown(t, l) }()
				testkit.Eventually(t, "it shuts down", l.ShuttingDown)
				looptest.Call(t, l, func() {})
				check(t, ln)
				close(end)
				testkit.Receive(t, done)
				send(t, c, "served")
				testkit.WantRead(t, c, "served")
				c.Close()
				testkit.Receive(t, ended)
			})
		}
		t.Run(network+" group", func(t *testing.T) {
			g := newGroup(t, 3, loop.Config{})
			ln, err := g.Listen(network, address(t), echo)
			if err != nil {
				t.Fatal(err)
			}
			check(t, ln)
		})
		t.Run(network+" group in its own job", func(t *testing.T) {
			g := newGroup(t, 3, loop.Config{})
			ln, err := g.Listen(network, address(t), echo)
			if err != nil {
				t.Fatal(err)
			}
			looptest.Must(t, g.Loops()[1], func(context.Context) error { check(t, ln); return nil })
		})
		t.Run(network+" TLSListener", func(t *testing.T) {
			testkit.CheckLeaks(t)
			ln, err := loop.ListenTLS(network, address(t), serverConfig())
			if errors.Is(err, loop.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			check(t, ln)
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
		})
	}
}

// Nor does it matter that clients keep coming, and that the loop is accepting them.
func TestListenerCloseWhileAccepting(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		l := looptest.New(t, loop.Config{AcceptsPerTurn: 8})
		dir := t.TempDir()
		for range 20 {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(dir, "s")
			}
			ln, err := l.Listen(network, address, echo)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			stop, begun := make(chan bool), make(chan bool, 4)
			for range 4 {
				wg.Go(func() {
					for {
						c, err := net.Dial(network, ln.Addr().String())
						if err == nil {
							c.Close()
						}
						select {
						case begun <- true:
						case <-stop:
							return
						default:
						}
					}
				})
			}
			testkit.Receive(t, begun)
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			if network == "unix" { // for TCP a client's own port may be this one
				wantFree(t, ln.Addr())
			} else if again, err := l.Listen(network, ln.Addr().String(), echo); err != nil {
				t.Error(err)
			} else {
				again.Close()
			}
			close(stop)
			wg.Wait()
			testkit.Eventually(t, "all who came are served", func() bool { return looptest.Settle(t, l).Conns == 0 })
		}
	}
}

// A hook that is called while a connection is accepted may close the listener.
func TestListenerCloseInAccept(t *testing.T) {
	var ln *loop.Listener
	l := looptest.New(t, loop.Config{Accept: func(net.Addr) bool {
		ln.Close()
		wantFree(t, ln.Addr())
		return true
	}})
	ln, err := l.Listen("tcp", "127.0.0.1:0", echo)
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, l)
	first, second := testkit.Dial(t, ln.Addr()), testkit.Dial(t, ln.Addr())
	release()
	for _, c := range []net.Conn{first, second} {
		send(t, c, "x")
		testkit.WantRead(t, c, "x")
	}
}

// Whoever has closed the listener that was given does not make Close fail.
func TestListenerCloseGivenIsClosed(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	given, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := l.Serve(given, echo)
	if err != nil {
		t.Fatal(err)
	}
	given.Close()
	if err := ln.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantFree(t, ln.Addr())
}
