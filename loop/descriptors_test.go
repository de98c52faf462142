//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A process that has run out of descriptors accepts nothing, neither fails nor
// spins, and goes on when it has some again. That needs a limit, and so a
// process, of its own.
func TestAcceptWithoutDescriptors(t *testing.T) {
	const env = "LOOP_TEST_WITHOUT_DESCRIPTORS"
	if os.Getenv(env) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAcceptWithoutDescriptors$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}

	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	addr := looptest.Listen(t, l, echo)
	served := testkit.Dial(t, addr)
	send(t, served, "x")
	testkit.WantRead(t, served, "x")
	const waiting = 3
	var clients [waiting]int
	for i := range clients { // before there are none left
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		clients[i] = fd
	}

	restore := exhaust(t, l)
	for _, fd := range clients {
		a := addr.(*net.TCPAddr)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, []byte("late")); err != nil {
			t.Fatal(err)
		}
	}
	// It is tried again from time to time, and logged less often.
	testkit.Eventually(t, "accepting fails", func() bool { return looptest.Settle(t, l).AcceptsPaused > 3 })
	wantFewTurns(t, l)
	send(t, served, "still served")
	testkit.WantRead(t, served, "still served")
	restore()

	for _, fd := range clients {
		// The kernel's timeout for the test's patience.
		tv := unix.NsecToTimeval(int64(testkit.Patience))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		n, err := unix.Read(fd, b)
		for err == unix.EINTR { // by the runtime's signals: a socket with a timeout
			n, err = unix.Read(fd, b)
		}
		if string(b[:max(n, 0)]) != "late" || err != nil {
			t.Errorf("read %q, error %v", b[:max(n, 0)], err)
		}
	}
	wantOneLine(t, l, &out, "level=WARN", addr.String())
}

// A loop that has detached a connection before can do so without any descriptor left.
// Another cannot, and its connection is what it was.
func TestDetachWithoutDescriptors(t *testing.T) {
	const env = "LOOP_TEST_DETACH_WITHOUT_DESCRIPTORS"
	if os.Getenv(env) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDetachWithoutDescriptors$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	prepared, other := looptest.New(t, loop.Config{}), looptest.New(t, loop.Config{})
	detach := func(l *loop.Loop) (client net.Conn, goOn chan struct{}, out chan net.Conn, done <-chan error) {
		goOn, out = make(chan struct{}), make(chan net.Conn, 1)
		client, done = pair(t, l, func(ctx context.Context, c *loop.Conn) error {
			if err := loop.Await(ctx, func(done func()) { go func() { <-goOn; done() }() }); err != nil {
				return err
			}
			nc, err := c.Detach()
			if err == nil {
				out <- nc
				return nil
			}
			testkit.WantErr(t, err, unix.EMFILE)
			close(out)
			return echoOnce(c)
		})
		return client, goOn, out, done
	}
	_, goOn, out, done := detach(prepared)
	close(goOn)
	first := testkit.Receive(t, out)
	if err := testkit.Receive(t, done); err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	c1, goOn1, out1, done1 := detach(prepared)
	c2, goOn2, out2, done2 := detach(prepared)
	c3, goOn3, out3, done3 := detach(other)

	restore := exhaust(t, prepared, other)
	for i, c := range []struct {
		client net.Conn
		goOn   chan struct{}
		out    chan net.Conn
		done   <-chan error
		works  bool
	}{{c1, goOn1, out1, done1, true}, {c2, goOn2, out2, done2, true}, {c3, goOn3, out3, done3, false}} {
		close(c.goOn)
		nc := testkit.Receive(t, c.out)
		if (nc != nil) != c.works {
			t.Errorf("connection %d: detached %v, want %v", i, nc != nil, c.works)
		}
		if nc != nil {
			defer nc.Close()
			send(t, nc, "detached")
			testkit.WantRead(t, c.client, "detached")
		} else {
			send(t, c.client, "still there")
			testkit.WantRead(t, c.client, "still there")
		}
		if err := testkit.Receive(t, c.done); err != nil {
			t.Error(err)
		}
	}
	restore()
}

// exhaust leaves the process without descriptors, until restore is called. By then the
// loops have accepted whoever is there: an accept without a descriptor is an error, also
// when nobody waits.
func exhaust(t *testing.T, loops ...*loop.Loop) (restore func()) {
	t.Helper()
	for _, l := range loops {
		looptest.Settle(t, l)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 128
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	var fds []int
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	return func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}

// A dial without descriptors takes that of a connection which only lingers. Without one of
// those it fails, and leaves nothing.
func TestDialWithoutDescriptors(t *testing.T) {
	const env = "LOOP_TEST_DIAL_WITHOUT_DESCRIPTORS"
	if os.Getenv(env) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDialWithoutDescriptors$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nobody
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := looptest.New(t, loop.Config{})
	lingering := looptest.New(t, loop.Config{LingerTimeout: time.Hour})
	addr := looptest.Listen(t, lingering, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := c.Write([]byte("bye"))
		return err
	}))
	c := testkit.Dial(t, addr)
	testkit.WantRead(t, c, "bye")
	testkit.Eventually(t, "it lingers", func() bool { return lingering.Stats().Lingering == 1 })

	restore := exhaust(t, l, lingering)
	defer restore()
	dial := func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", ln.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	testkit.WantErr(t, do(t, l, dial), unix.EMFILE)
	if err := do(t, lingering, dial); err != nil {
		t.Errorf("Dial: %v", err)
	}
	if s := looptest.Settle(t, lingering); s.Lingering != 0 || s.Conns != 0 {
		t.Errorf("%d connections linger, %d are open, want none", s.Lingering, s.Conns)
	}
}
