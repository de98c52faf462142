package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A job goes on while its client is not really gone, whatever the poller says of
// the socket: only a reset ends it.
func TestNotGone(t *testing.T) {
	raw := func(c *loop.Conn, f func(fd int) error) error {
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var ferr error
		if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
			return err
		}
		return ferr
	}
	shutdown := func(c *loop.Conn) error {
		return raw(c, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	}
	const errorQueue = "an entry in the error queue"
	nothing := func(*loop.Conn) error { return nil }
	tests := map[string]struct {
		network string
		before  func(c *loop.Conn) error
		end     func(c net.Conn) error // of the client
	}{
		"a Unix socket is closed":               {"unix", nothing, net.Conn.Close},
		"the client has closed":                 {"tcp", nothing, net.Conn.Close},
		"both sides are shut":                   {"tcp", (*loop.Conn).CloseWrite, func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() }},
		"both sides are shut, this one by hand": {"tcp", shutdown, func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() }},
		errorQueue: {"tcp", func(c *loop.Conn) error {
			return raw(c, func(fd int) error {
				// The time stamp of a byte sent is such an entry.
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
					unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE); err != nil {
					return err
				}
				_, err := unix.Write(fd, []byte("x"))
				return err
			})
		}, func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			address := "127.0.0.1:0"
			if tt.network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			waiting, release := make(chan error, 1), make(chan bool)
			done := make(chan error, 1)
			ln, err := l.Listen(tt.network, address, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
				waiting <- tt.before(c)
				done <- loop.Await(ctx, func(done func()) { go func() { <-release; done() }() })
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			c := testkit.Dial(t, ln.Addr())
			if err := testkit.Receive(t, waiting); err != nil {
				t.Fatal(err)
			}
			events := looptest.Settle(t, l).Events
			if err := tt.end(c); err != nil {
				t.Fatal(err)
			}
			if name != errorQueue { // where it has said so before
				testkit.Eventually(t, "the poller says something", func() bool { return looptest.Settle(t, l).Events > events })
			}
			close(release)
			if err := testkit.Receive(t, done); err != nil {
				t.Errorf("the job ended with %v", err)
			}
		})
	}
}

// The descriptor of a connection that was closed behind the loop's back, and went
// to another: the job of the first ends, and the other's descriptor is not
// touched.
func TestDescriptorStolen(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	first := make(chan *loop.Conn, 1)
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		first <- c
		_, err := c.Read(make([]byte, 1))
		return err
	})
	c := testkit.Receive(t, first)
	testkit.Eventually(t, "it waits", func() bool { return l.Stats().JobsPaused == 1 })
	var other *loop.Conn
	looptest.Must(t, l, func(ctx context.Context) error {
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		fd := -1
		if err := rc.Control(func(d uintptr) { fd = int(d) }); err != nil {
			return err
		}
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		t.Cleanup(func() { silent.Close() })
		unix.Close(fd)
		// The lowest number that is free is the next one's.
		if other, err = loop.Dial(ctx, "tcp", silent.Addr().String()); err != nil {
			return err
		}
		now := -1
		if rc, err = other.SyscallConn(); err != nil {
			return err
		}
		if err := rc.Control(func(d uintptr) { now = int(d) }); err != nil {
			return err
		}
		if now != fd {
			t.Skipf("descriptor %d has gone to somebody else, this one is %d", fd, now)
		}
		return nil
	})
	if err := testkit.Receive(t, done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v, want %v", err, net.ErrClosed)
	}
	looptest.Must(t, l, func(context.Context) error {
		_, err := other.Write([]byte("x"))
		return errors.Join(err, other.Close())
	})
}

// A job that waits for a descriptor which somebody has closed, and whose number
// is another file's by now, is woken.
func TestWatchedDescriptorStolen(t *testing.T) {
	for name, byLoop := range map[string]bool{"by a connection of the loop": true, "by another file": false} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[1])
			done := looptest.Spawn(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFD("k", p[0], nil, nil); err != nil {
					return err
				}
				err := j.Pause()
				j.WaitCtx().ClearFD("k")
				return err
			})
			testkit.Eventually(t, "it waits", func() bool { return l.Stats().JobsPaused == 1 })
			if byLoop {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				looptest.Must(t, l, func(ctx context.Context) error {
					unix.Close(p[0])
					c, err := loop.Dial(ctx, "tcp", ln.Addr().String())
					if err != nil {
						return err
					}
					return c.Close()
				})
			} else {
				looptest.Call(t, l, func() {
					if err := unix.Dup3(p[1], p[0], unix.O_CLOEXEC); err != nil {
						t.Error(err)
					}
				})
				defer unix.Close(p[0])
			}
			if err := testkit.Receive(t, done); err != nil {
				t.Errorf("Pause: %v", err)
			}
		})
	}
}

// A dial that nobody answers ends with its context.
func TestDialContextEnds(t *testing.T) {
	// A listener whose backlog is full: what else comes is dropped.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		unix.Connect(c, sa)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := loop.Dial(short, "tcp", addr); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("with a deadline: %v", err)
		}
		canceled, cancel := context.WithCancel(ctx)
		l.AfterFunc(10*time.Millisecond, cancel)
		if _, err := loop.Dial(canceled, "tcp", addr); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("cancelled: %v", err)
		}
		_, err := (&loop.Dialer{Timeout: 10 * time.Millisecond}).Dial(ctx, "tcp", addr)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("with a timeout: %v", err)
		}
		return nil
	})
}
