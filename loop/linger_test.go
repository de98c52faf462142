package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// upload sends a request whose body nobody reads, and then reads slowly.
func upload(c net.Conn) (int, error) {
	wrote := make(chan error, 1)
	go func() { // not every system has room for all of it
		_, err := c.Write(make([]byte, 50_000))
		wrote <- err
	}()
	n := 0
	b := make([]byte, 16<<10)
	for {
		m, err := c.Read(b)
		n += m
		if err == io.EOF {
			return n, <-wrote
		}
		if err != nil {
			return n, err
		}
		time.Sleep(time.Millisecond) // what it is about
	}
}

// The peer gets all of an answer, although bytes of its own are unread when the
// connection is closed.
func TestClosingLingers(t *testing.T) {
	const size = 500_000
	answer := func(c net.Conn) error {
		if _, err := c.Read(make([]byte, 16)); err != nil {
			return err
		}
		_, err := c.Write(make([]byte, size))
		return err
	}
	closing := map[string]func(c net.Conn) error{
		"handler returns":      answer,
		"handler fails":        func(c net.Conn) error { return errors.Join(answer(c), errors.New("at last")) },
		"Close in the handler": func(c net.Conn) error { return errors.Join(answer(c), c.Close()) },
		"Close elsewhere":      func(c net.Conn) error { return errors.Join(answer(c), elsewhere(c.Close)) },
	}
	for name, serveIt := range closing {
		for _, kind := range []string{"plain", "TLS", "unix"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				var h loop.Handler = loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return serveIt(c) })
				network, address := "tcp", "127.0.0.1:0"
				switch kind {
				case "TLS":
					h = &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error { return serveIt(c) }}
				case "unix":
					network, address = "unix", filepath.Join(t.TempDir(), "s")
				}
				ln, err := l.Listen(network, address, h)
				if err != nil {
					t.Fatal(err)
				}
				c := testkit.Dial(t, ln.Addr())
				if kind == "TLS" {
					c = tls.Client(c, clientConfig())
				}
				if n, err := upload(c); n != size || err != nil {
					t.Errorf("%d bytes of %d arrived, %v", n, size, err)
				}
				c.Close()
				testkit.Eventually(t, "nothing lingers", func() bool { return looptest.Settle(t, l).Lingering == 0 })
			})
		}
	}
}

// How long that lasts, and how much is taken, is bounded.
func TestLingerIsBounded(t *testing.T) {
	hello := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := c.Write([]byte("bye"))
		return err
	})
	t.Run("time", func(t *testing.T) {
		l := looptest.New(t, loop.Config{LingerTimeout: 20 * time.Millisecond})
		c := testkit.Dial(t, looptest.Listen(t, l, hello))
		testkit.WantRead(t, c, "bye")
		expectEOF(t, c)
		testkit.Eventually(t, "it lingers no more", func() bool { s := looptest.Settle(t, l); return s.Lingering == 0 && s.Conns == 0 })
	})
	t.Run("amount", func(t *testing.T) {
		l := looptest.New(t, loop.Config{LingerTimeout: time.Hour})
		c := testkit.Dial(t, looptest.Listen(t, l, hello))
		var err error
		for sent := 0; err == nil; {
			if sent > 64<<20 {
				t.Fatal("64 MiB have been taken")
			}
			var n int
			n, err = c.Write(make([]byte, 64<<10))
			sent += n
		}
		testkit.Eventually(t, "it lingers no more", func() bool { return looptest.Settle(t, l).Lingering == 0 })
	})
	t.Run("shutdown", func(t *testing.T) {
		l := looptest.New(t, loop.Config{LingerTimeout: time.Hour})
		c := testkit.Dial(t, looptest.Listen(t, l, hello))
		testkit.WantRead(t, c, "bye")
		expectEOF(t, c) // and the client does not close: the loop ends all the same
	})
	t.Run("Close", func(t *testing.T) {
		l := looptest.New(t, loop.Config{LingerTimeout: time.Hour})
		c := testkit.Dial(t, looptest.Listen(t, l, hello))
		testkit.WantRead(t, c, "bye")
		testkit.Eventually(t, "it lingers", func() bool { return looptest.Settle(t, l).Lingering == 1 })
		l.Close()
		expectEOF(t, c)
	})
	t.Run("off", func(t *testing.T) {
		l := looptest.New(t, loop.Config{LingerTimeout: -1})
		c := testkit.Dial(t, looptest.Listen(t, l, hello))
		testkit.WantRead(t, c, "bye")
		expectEOF(t, c)
		if s := looptest.Settle(t, l); s.Lingering != 0 || s.Conns != 0 {
			t.Errorf("%+v, want no connection", s)
		}
	})
}

// Addresses are known as long as there is a Conn.
func TestAddressesAfterTheEnd(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	wild, err := l.Listen("tcp", ":0", echo)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(wild.Addr().String())
	conns := make(chan *loop.Conn, 3)
	keep := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { conns <- c; return nil })
	ln, err := l.Listen("tcp", ":0", keep)
	if err != nil {
		t.Fatal(err)
	}
	_, lport, _ := net.SplitHostPort(ln.Addr().String())
	client := testkit.Dial(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ln.Addr().(*net.TCPAddr).Port})
	accepted := testkit.Receive(t, conns)
	looptest.Must(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		conns <- c
		c.SetLinger(0)
		return c.Close()
	})
	dialled := testkit.Receive(t, conns)
	expectEOF(t, client)
	looptest.Settle(t, l)
	if got, want := accepted.LocalAddr().String(), "127.0.0.1:"+lport; got != want {
		t.Errorf("local address of an accepted connection %s, want %s", got, want)
	}
	if got, want := accepted.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("remote address of an accepted connection %s, want %s", got, want)
	}
	if got, want := dialled.RemoteAddr().String(), "127.0.0.1:"+port; got != want {
		t.Errorf("remote address of a dialled connection %s, want %s", got, want)
	}
	if a, ok := dialled.LocalAddr().(*net.TCPAddr); !ok || a.Port == 0 || !a.IP.IsLoopback() {
		t.Errorf("local address of a dialled connection %v", dialled.LocalAddr())
	}
}

// A connection that the last job closes just before it ends is seen off too when
// the loop shuts down.
func TestShutdownSendsWhatWasWritten(t *testing.T) {
	const size = 200_000
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(testkit.Patience))
		if _, err := c.Write(make([]byte, 1000)); err != nil { // which nobody reads
			got <- err
			return
		}
		b := make([]byte, 4096)
		for n := 0; ; {
			m, err := c.Read(b)
			if n += m; err != nil {
				if err == io.EOF && n == size {
					err = nil
				} else {
					err = fmt.Errorf("%d bytes of %d: %w", n, size, err)
				}
				got <- err
				return
			}
			time.Sleep(time.Millisecond) // a slow reader is what it is about
		}
	}()
	l := looptest.NewIdle(t, loop.Config{})
	ran := run(t, l, context.Background())
	closing := make(chan bool)
	looptest.Spawn(t, l, func(ctx context.Context) error {
		c, err := loop.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return err
		}
		close(closing)
		for !l.ShuttingDown() {
			if err := loop.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			return err
		}
		return c.Close()
	})
	testkit.Receive(t, closing)
	looptest.ShutDown(t, l)
	wantEnd(t, ran, nil)
	if err := testkit.Receive(t, got); err != nil {
		t.Error(err)
	}
}
