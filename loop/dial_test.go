package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// greeter accepts connections on goroutines and says hello to each.
func greeter(t *testing.T, network, address string) net.Addr {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello")
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	return ln.Addr()
}

// greeted dials inside a job and reads the greeting.
func greeted(ctx context.Context, d *loop.Dialer, network, address string) error {
	c, err := d.Dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	return readAll(c, "hello")
}

func TestDial(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	v4 := greeter(t, "tcp4", "127.0.0.1:0").(*net.TCPAddr)
	path := filepath.Join(t.TempDir(), "s")
	greeter(t, "unix", path)
	tests := []struct{ network, address string }{
		{"tcp", v4.String()},
		{"tcp4", v4.String()},
		{"tcp4", fmt.Sprintf("localhost:%d", v4.Port)},
		{"tcp", fmt.Sprintf("localhost:%d", v4.Port)}, // whose first address may be ::1
		{"tcp", fmt.Sprintf(":%d", v4.Port)},
		{"tcp", fmt.Sprintf("[::ffff:127.0.0.1]:%d", v4.Port)},
		{"unix", path},
	}
	for _, tt := range tests {
		if err := do(t, l, func(ctx context.Context) error {
			return greeted(ctx, new(loop.Dialer), tt.network, tt.address)
		}); err != nil {
			t.Errorf("Dial(%s, %s): %v", tt.network, tt.address, err)
		}
	}
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", v4.String())
		if err != nil {
			return err
		}
		defer c.Close()
		if got := c.RemoteAddr().String(); got != v4.String() {
			return fmt.Errorf("RemoteAddr = %s, want %s", got, v4)
		}
		return readAll(c, "hello")
	})
}

func TestDialIPv6(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	v6 := greeter(t, "tcp6", "[::1]:0").(*net.TCPAddr)
	for _, address := range []string{v6.String(), fmt.Sprintf(":%d", v6.Port)} {
		if err := do(t, l, func(ctx context.Context) error {
			return greeted(ctx, new(loop.Dialer), "tcp6", address)
		}); err != nil {
			t.Errorf("Dial(tcp6, %s): %v", address, err)
		}
	}
}

func TestDialOwnListener(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, echo)
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", addr.String())
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

func TestDialFails(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	dir := t.TempDir()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close() // nobody listens there now
	tests := []struct {
		network, address string
		want             error // nil: any
	}{
		{"tcp", closed.Addr().String(), syscall.ECONNREFUSED},
		{"unix", filepath.Join(dir, "none"), syscall.ENOENT},
		{"unix", filepath.Join(dir, string(make([]byte, 200))), nil},
		{"udp", "127.0.0.1:1", net.UnknownNetworkError("udp")},
		{"", "127.0.0.1:1", net.UnknownNetworkError("")},
		{"tcp", "127.0.0.1", nil},
		{"tcp", "127.0.0.1:99999", nil},
		{"tcp", "127.0.0.1:-1", nil},
		{"tcp", "127.0.0.1:no-such-service", nil},
		{"tcp6", "127.0.0.1:1", nil},
		{"tcp4", "[::1]:1", nil},
	}
	for _, tt := range tests {
		err := do(t, l, func(ctx context.Context) error {
			c, err := loop.Dial(ctx, tt.network, tt.address)
			if err == nil {
				c.Close()
			}
			return err
		})
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || op.Net != tt.network {
			t.Errorf("Dial(%q, %q): %v, want an OpError", tt.network, tt.address, err)
		}
		if tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("Dial(%q, %q): %v, want %v", tt.network, tt.address, err, tt.want)
		}
	}
}

// fullListener returns the address of a listener whose backlog is full: the
// kernel answers nothing to those who connect.
func fullListener(t *testing.T) string {
	t.Helper()
	addr := tinyBacklog(t)
	for range 100 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system's backlogs do not get full")
	return ""
}

func TestDialTimeout(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := fullListener(t)
	for _, block := range []bool{false, true} {
		err := do(t, l, func(ctx context.Context) error {
			if j, _ := jobs.FromContext(ctx); block {
				j.BlockPause()
			}
			d := loop.Dialer{Timeout: 20 * time.Millisecond}
			_, err := d.Dial(ctx, "tcp", addr)
			return wantTimeout("Dial", err)
		})
		if err != nil {
			t.Errorf("with pausing blocked %t: %v", block, err)
		}
	}
	if n := looptest.Settle(t, l).Conns; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestDialCanceled(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := fullListener(t)
	dialing := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		close(dialing)
		_, err := loop.Dial(ctx, "tcp", addr)
		return err
	})
	testkit.Receive(t, dialing)
	l.Close()
	if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("Dial: %v, want %v", err, jobs.ErrCanceled)
	}
}

func TestDialOutsideJob(t *testing.T) {
	if _, err := loop.Dial(context.Background(), "tcp", "127.0.0.1:1"); err != loop.ErrNotInJob {
		t.Errorf("Dial: %v, want %v", err, loop.ErrNotInJob)
	}
}

func TestDialLocalAddr(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, echo)
	for _, local := range []*net.TCPAddr{{IP: net.IPv4(127, 0, 0, 1)}, {}} {
		looptest.Must(t, l, func(ctx context.Context) error {
			d := loop.Dialer{LocalAddr: local}
			c, err := d.Dial(ctx, "tcp", addr.String())
			if err != nil {
				return err
			}
			defer c.Close()
			if ip := c.LocalAddr().(*net.TCPAddr).IP; !ip.IsLoopback() {
				return fmt.Errorf("LocalAddr = %v", ip)
			}
			return nil
		})
	}
	for _, local := range []net.Addr{
		&net.UDPAddr{},
		&net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}, // not for TCP
	} {
		err := do(t, l, func(ctx context.Context) error {
			d := loop.Dialer{LocalAddr: local}
			_, err := d.Dial(ctx, "tcp", addr.String())
			return err
		})
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("Dial from %T: %v, want an OpError", local, err)
		}
	}
}

// A resolver that answers late does not hold the job beyond its timeout, nor
// does the answer hold up one that may not pause.
func TestDialResolver(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	asked := make(chan bool, 10)
	hanging := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for timeout := 20 * time.Millisecond; len(asked) == 0; timeout *= 2 { // or it may pass before that
		err := do(t, l, func(ctx context.Context) error {
			d := loop.Dialer{Resolver: hanging, Timeout: timeout}
			_, err := d.Dial(ctx, "tcp", "host.invalid:1")
			return err
		})
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("Dial: %v, want a timeout", err)
		}
	}

	addr := greeter(t, "tcp4", "127.0.0.1:0").(*net.TCPAddr)
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		j.BlockPause()
		return greeted(ctx, &loop.Dialer{Timeout: time.Hour}, "tcp4", fmt.Sprintf("localhost:%d", addr.Port))
	})
}

func TestDialCanceledInResolver(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	asked := make(chan bool, 10)
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		d := loop.Dialer{Resolver: r}
		_, err := d.Dial(ctx, "tcp", "host.invalid:1")
		return err
	})
	testkit.Receive(t, asked)
	l.Close()
	if err := testkit.Receive(t, done); !errors.Is(err, jobs.ErrCanceled) {
		t.Errorf("Dial: %v, want %v", err, jobs.ErrCanceled)
	}
}
