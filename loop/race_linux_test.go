package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// deadOn makes an address from which no answer comes: a listener whose backlog is full,
// so that the kernel drops what else arrives. Port 0 lets the kernel choose.
func deadOn(t *testing.T, ip string, port int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	sa := &unix.SockaddrInet4{Addr: netip.MustParseAddr(ip).As4(), Port: port}
	if err := errors.Join(unix.Bind(fd, sa), unix.Listen(fd, 0)); err != nil {
		t.Skip(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(c) })
		unix.Connect(c, bound)
	}
	return bound.(*unix.SockaddrInet4).Port
}

// A dead address costs the delay, and not a share of the timeout. Only the connection
// that has been made is left.
func TestDialDeadAddress(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := deadOn(t, "127.0.0.2", 0)
	greeter(t, "tcp4", fmt.Sprintf("127.0.0.4:%d", port))
	r := names(map[string][]string{"host.test": {"127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"}})
	var c *loop.Conn
	looptest.Must(t, l, func(ctx context.Context) (err error) {
		d := loop.Dialer{Resolver: r, FallbackDelay: time.Millisecond, Timeout: time.Hour}
		if c, err = d.Dial(ctx, "tcp", fmt.Sprintf("host.test.:%d", port)); err != nil {
			return err
		}
		if got, want := c.RemoteAddr().String(), fmt.Sprintf("127.0.0.4:%d", port); got != want {
			return fmt.Errorf("RemoteAddr = %s, want %s", got, want)
		}
		return readAll(c, "hello")
	})
	if n := looptest.Settle(t, l).Conns; n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
	looptest.Must(t, l, func(context.Context) error { // it works in both directions, and as long as it is wanted
		_, err := c.Write([]byte("x"))
		return errors.Join(err, c.Close())
	})
}

// Without a delay, and where pausing is blocked, addresses are tried one at a time.
func TestDialOneAtATime(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := deadOn(t, "127.0.0.2", 0)
	second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.3:%d", port))
	if err != nil {
		t.Skip(err)
	}
	defer second.Close()
	r := names(map[string][]string{"host.test": {"127.0.0.2", "127.0.0.3"}})
	for name, tt := range map[string]struct {
		d     loop.Dialer
		block bool
	}{
		"negative delay":    {d: loop.Dialer{FallbackDelay: -1}},
		"pausing blocked":   {d: loop.Dialer{FallbackDelay: 1}, block: true},
		"a port of its own": {d: loop.Dialer{FallbackDelay: 1, LocalAddr: &net.TCPAddr{Port: freePort(t)}}},
	} {
		err := do(t, l, func(ctx context.Context) error {
			if j, _ := jobs.FromContext(ctx); tt.block {
				j.BlockPause()
			}
			tt.d.Resolver, tt.d.Timeout = r, 100*time.Millisecond // less than the share of one
			_, err := tt.d.Dial(ctx, "tcp", fmt.Sprintf("host.test.:%d", port))
			return err
		})
		var ne net.Error // of the lookup, on a busy machine
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v, want a timeout", name, err)
		}
	}
	// Who has connected comes before this one.
	mine := testkit.Dial(t, second.Addr())
	defer mine.Close()
	c, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != mine.LocalAddr().String() {
		t.Errorf("%v has connected to the second address", c.RemoteAddr())
	}
}

// A job that may not pause does not see its context end, but its deadline.
func TestDialBlockedDeadline(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := deadOn(t, "127.0.0.2", 0)
	for range 20 {
		looptest.Must(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			j.BlockPause()
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if _, err := loop.Dial(ctx, "tcp", fmt.Sprintf("127.0.0.2:%d", port)); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("Dial: %v, want %v", err, context.DeadlineExceeded)
			}
			return nil
		})
	}
}

// A local port can have one socket at a time, and the next attempt has it then.
func TestDialFromPort(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := greeterOn(t, "127.0.0.3")
	r := names(map[string][]string{"host.test": {"127.0.0.1", "127.0.0.2", "127.0.0.3"}})
	from := freePort(t)
	looptest.Must(t, l, func(ctx context.Context) error {
		d := loop.Dialer{Resolver: r, LocalAddr: &net.TCPAddr{Port: from}}
		c, err := d.Dial(ctx, "tcp", "host.test.:"+port)
		if err != nil {
			return err
		}
		defer c.Close()
		if got := c.LocalAddr().(*net.TCPAddr).Port; got != from {
			return fmt.Errorf("it comes from port %d, want %d", got, from)
		}
		return nil
	})
}

// However many addresses there are, a few are tried at a time, and whatever ends the
// dial closes all of them.
func TestDialManyDeadAddresses(t *testing.T) {
	port := deadOn(t, "0.0.0.0", 0)
	var ips []string
	for i := range 20 {
		ips = append(ips, fmt.Sprintf("127.0.1.%d", i+1))
	}
	r := names(map[string][]string{"host.test": ips})
	const most = 8
	for name, tt := range map[string]struct {
		end  func(l *loop.Loop, cancel func())
		want error
	}{
		"its context":    {func(_ *loop.Loop, cancel func()) { cancel() }, context.Canceled},
		"the loop's end": {func(l *loop.Loop, _ func()) { l.Close() }, jobs.ErrCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := looptest.Spawn(t, l, func(jctx context.Context) error {
				jctx, stop := context.WithCancel(jctx)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				d := loop.Dialer{Resolver: r, FallbackDelay: 1, Timeout: time.Hour}
				_, err := d.Dial(jctx, "tcp", fmt.Sprintf("host.test.:%d", port))
				return err
			})
			testkit.Eventually(t, "several attempts", func() bool { return looptest.Settle(t, l).Conns >= most })
			for range 10 {
				if n := looptest.Settle(t, l).Conns; n != most {
					t.Errorf("%d attempts at a time, want %d", n, most)
				}
			}
			tt.end(l, cancel)
			err := testkit.Receive(t, done)
			if !errors.Is(err, tt.want) {
				t.Errorf("Dial: %v, want %v", err, tt.want)
			}
			if err != nil && strings.Count(err.Error(), "127.0.1.") != most {
				t.Errorf("Dial: %v, want %d addresses", err, most)
			}
			if tt.want == context.Canceled {
				if n := looptest.Settle(t, l).Conns; n != 0 {
					t.Errorf("%d attempts are left", n)
				}
			}
		})
	}
}

// A job that does not listen when it is cancelled is ended, also in the middle of a dial,
// and leaves nothing either.
func TestDialGoexit(t *testing.T) {
	port := deadOn(t, "127.0.0.2", 0)
	for _, to := range [][2]string{
		{"tcp", fmt.Sprintf("127.0.0.2:%d", port)},
		{"unix", filepath.Join(t.TempDir(), "none")}, // fails at once
		{"tcp", ""},
	} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			dialing := make(chan bool, 1)
			done := looptest.Spawn(t, l, func(ctx context.Context) error {
				dialing <- true
				for {
					loop.Dial(ctx, to[0], to[1])
				}
			})
			testkit.Receive(t, dialing)
			l.Close()
			if err := testkit.Receive(t, done); err != looptest.ErrLeft {
				t.Errorf("the job ended with %v, want Goexit", err)
			}
		})
	}
}

// No connection is one to itself, which TCP allows and the kernel makes by chance.
func TestDialNotSelf(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		back, err := ownNetwork()
		if err != nil {
			t.Skipf("no network namespace of its own: %v", err)
		}
		defer back()
		// With one port to choose from, every connection is one to itself.
		for _, ports := range []string{"40000 40000", "40000 40003"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0); err != nil {
				t.Skip(err)
			}
			for range 20 {
				for _, address := range []string{"127.0.0.1:40000", ":40000", "0.0.0.0:40000", "[::1]:40000"} {
					c, err := loop.Dial(ctx, "tcp", address)
					if err == nil {
						c.Close()
						return fmt.Errorf("ports %s: connected %v to %v, where nobody listens", ports, c.LocalAddr(), c.RemoteAddr())
					}
					if !errors.Is(err, syscall.ECONNREFUSED) {
						return fmt.Errorf("ports %s: %v, want %v", ports, err, syscall.ECONNREFUSED)
					}
				}
			}
			// Nothing of it is left, so the server can have its port.
			ln, err := net.Listen("tcp", "127.0.0.1:40000")
			if err != nil {
				return fmt.Errorf("ports %s: %v", ports, err)
			}
			ln.Close()
		}
		return nil
	})
}

// Who asks for a connection to itself, by address and port, gets it.
func TestDialSelf(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	self := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: freePort(t)}
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := (&loop.Dialer{LocalAddr: self}).Dial(ctx, "tcp", self.String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "to myself"); err != nil {
			return err
		}
		return readAll(c, "to myself")
	})
}

// ownNetwork gives the thread a network of its own, with 127.0.0.1 and ::1 in it. It must be
// called on a locked thread. back undoes it.
func ownNetwork() (back func(), err error) {
	was, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		unix.Close(was)
		return nil, err
	}
	back = func() {
		defer unix.Close(was)
		if err := unix.Setns(was, unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread must not go on like this
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		back()
		return nil, err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err == nil {
		ifr.SetUint16(unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
	}
	if err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// The names of Unix sockets that are not files.
func TestDialAbstract(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	name := fmt.Sprintf("@jobloop-test-%d", os.Getpid())
	greeter(t, "unix", name)
	for _, local := range []net.Addr{nil, &net.UnixAddr{Name: name + "-client", Net: "unix"}} {
		looptest.Must(t, l, func(ctx context.Context) error {
			return greeted(ctx, &loop.Dialer{LocalAddr: local}, "unix", name)
		})
	}
	err := do(t, l, func(ctx context.Context) error {
		_, err := loop.Dial(ctx, "unix", name+"-none")
		return err
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v, want %v", err, syscall.ECONNREFUSED)
	}
}
