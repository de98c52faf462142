package loop_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
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
	"github.com/jobloop/jobloop/loop"
)

// echoes sends b through an echo and compares.
func echoes(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	written := make(chan error, 1)
	go func() { _, err := c.Write(b); written <- err }()
	got := make([]byte, len(b))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes came back different, error %v", len(b), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// A detached connection is a goroutine's. The loop has nothing of it any more, and its
// job goes on.
func TestDetach(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	out := make(chan net.Conn, 1)
	client, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		if err := readAll(c, "in "); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now()) // stays here
		nc, err := c.Detach()
		if err != nil {
			return err
		}
		for what, err := range map[string]error{
			"read":   second(c.Read(make([]byte, 1))),
			"write":  second(c.Write([]byte("x"))),
			"close":  c.Close(),
			"detach": second(c.Detach()),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Detach: %v", what, err)
			}
		}
		if nc.RemoteAddr().String() != c.RemoteAddr().String() {
			t.Errorf("the remote address is %v, was %v", nc.RemoteAddr(), c.RemoteAddr())
		}
		out <- nc
		return loop.Sleep(ctx, time.Millisecond)
	})
	send(t, client, "in out")
	nc := testkit.Receive(t, out)
	defer nc.Close()
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	testkit.WantRead(t, nc, "out")
	if s := looptest.Settle(t, l); s.Conns != 0 {
		t.Errorf("the loop has %d connections", s.Conns)
	}
	echoed := make(chan error, 1)
	go func() { echoed <- copyBack(nc) }()
	echoes(t, client, random(1<<20))
	client.Close()
	if err := testkit.Receive(t, echoed); err != nil {
		t.Error(err)
	}
}

// copyBack is io.Copy without splice(2), whose pipes the runtime keeps.
func copyBack(c net.Conn) error {
	_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	return err
}

func second[T any](_ T, err error) error { return err }

// What the loop has kept of writes is sent first.
func TestDetachSendsOutput(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	out := make(chan *tls.Conn, 1)
	conns := make(chan *loop.TLSConn, 1)
	goOn := make(chan struct{})
	addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(ctx context.Context, c *loop.TLSConn) error {
		conns <- c
		if err := loop.Await(ctx, func(done func()) { go func() { <-goOn; done() }() }); err != nil {
			return err
		}
		nc, err := c.Detach()
		if err != nil {
			t.Error(err)
			close(out)
			return err
		}
		out <- nc
		return nil
	}})
	client := tls.Client(testkit.Dial(t, addr), clientConfig())
	defer client.Close()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := testkit.Receive(t, conns)
	data := random(64 << 20) // more than sockets take
	sent := 0
	looptest.Call(t, l, func() { // outside jobs
		n, err := c.Write(data)
		if sent = n; err != loop.ErrWouldBlock {
			t.Error(err)
		}
		if _, err := c.Detach(); err != loop.ErrWouldBlock {
			t.Errorf("Detach with output, outside a job: %v", err)
		}
	})
	close(goOn)
	got := make([]byte, sent)
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data[:sent]) {
		t.Errorf("what was written before is different, error %v", err)
	}
	nc := testkit.Receive(t, out)
	if nc == nil {
		return
	}
	defer nc.Close()
	send(t, nc, "!")
	testkit.WantRead(t, client, "!")
}

// A TLS connection that is detached goes on with its keys, its records and its
// deadlines, in both directions at once.
func TestDetachTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			out := make(chan *tls.Conn, 1)
			addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
				if !c.Readable() {
					return c.Park(nil)
				}
				if _, err := c.Detach(); err == nil {
					t.Error("detached, though a byte had been read ahead")
				}
				if err := readAll(c, "he"); err != nil {
					t.Errorf("after a refused Detach: %v", err)
				}
				nc, err := c.Detach()
				if err != nil {
					t.Error(err)
					return err
				}
				if err := second(c.Read(make([]byte, 1))); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read after Detach: %v", err)
				}
				if err := second(c.Write([]byte("x"))); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after Detach: %v", err)
				}
				if !c.Readable() || c.CloseWrite() == nil { // a Read fails at once
					t.Error("it can still be used on the loop")
				}
				out <- nc
				return c.Park(nil)
			}})
			cfg := clientConfig()
			cfg.MinVersion, cfg.MaxVersion = version, version
			client := tls.Client(testkit.Dial(t, addr), cfg)
			defer client.Close()
			send(t, client, "hello") // one record
			nc := testkit.Receive(t, out)
			defer nc.Close()
			testkit.WantRead(t, nc, "llo")
			if got, want := nc.ConnectionState().Version, version; got != want {
				t.Errorf("version %x, want %x", got, want)
			}
			nc.SetReadDeadline(time.Now())
			if _, err := nc.Read(make([]byte, 1)); !isTimeout(err) {
				t.Errorf("read after the deadline: %v", err)
			}
			nc.SetReadDeadline(time.Time{})
			if s := looptest.Settle(t, l); s.Conns != 0 {
				t.Errorf("the loop has %d connections", s.Conns)
			}
			echoed := make(chan error, 1)
			go func() {
				_, err := io.Copy(nc, nc)
				echoed <- errors.Join(err, nc.CloseWrite())
			}()
			echoes(t, client, random(1<<20))
			client.CloseWrite()
			expectEOF(t, client)
			if err := testkit.Receive(t, echoed); err != nil {
				t.Error(err)
			}
			if tcp, ok := nc.NetConn().(interface{ NetConn() net.Conn }); !ok {
				t.Errorf("NetConn is a %T", nc.NetConn())
			} else if _, ok := tcp.NetConn().(*net.TCPConn); !ok {
				t.Errorf("below is a %T", tcp.NetConn())
			}
		})
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Detach from where it cannot be, and of what has ended.
func TestDetachErrors(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})

	conns := make(chan *loop.Conn, 1)
	client, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		conns <- c
		return readAll(c, "end")
	})
	c := testkit.Receive(t, conns)
	looptest.Settle(t, l) // its job is in Read
	_, err := c.Detach()
	testkit.WantErr(t, err, loop.ErrNotInJob)
	looptest.Must(t, l, func(context.Context) error {
		_, err := c.Detach()
		testkit.WantErr(t, err, loop.ErrInUse)
		return nil
	})
	send(t, client, "end")
	if err := testkit.Receive(t, done); err != nil {
		t.Errorf("after refused Detaches: %v", err)
	}

	// A connection that was reset.
	conns = make(chan *loop.Conn, 1)
	client, done = pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		conns <- c
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		_, err := c.Detach()
		testkit.WantErr(t, err, syscall.EPIPE)
		return nil
	})
	testkit.Receive(t, conns)
	testkit.Reset(client)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}

	// TLS that has begun.
	addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		if _, err := c.NetConn().Detach(); err == nil {
			t.Error("the connection below TLS was detached")
		}
		return echoOnce(c)
	}})
	tc := tls.Client(testkit.Dial(t, addr), clientConfig())
	defer tc.Close()
	echoes(t, tc, []byte("still there"))
}

// The peer's end, found with the last bytes before it, does not keep a connection from
// being detached.
func TestDetachAfterEnd(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	ended := make(chan error, 1)
	addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
		if !c.Readable() {
			return c.Park(nil)
		}
		n, err := c.Read(make([]byte, 100))
		if n != 4 || err != nil || !c.Readable() {
			t.Errorf("read %d bytes, %v; readable: %t", n, err, c.Readable())
		}
		nc, err := c.Detach()
		if err != nil {
			ended <- err
			return err
		}
		go func() {
			defer nc.Close()
			if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read %d bytes, %v after the end", n, err)
			}
			_, err := nc.Write([]byte("bye"))
			ended <- err
		}()
		return nil
	}})
	client := testkit.Dial(t, addr)
	defer client.Close()
	together := &gathered{Conn: client}
	tc := tls.Client(together, clientConfig())
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	together.on = true
	if _, err := tc.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := tc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(together.b); err != nil {
		t.Fatal(err)
	}
	testkit.WantRead(t, tc, "bye")
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}

// gathered keeps what is written to it.
type gathered struct {
	net.Conn
	on bool
	b  []byte
}

// SetWriteDeadline does nothing: crypto/tls allows no writes after its own CloseWrite.
func (*gathered) SetWriteDeadline(time.Time) error { return nil }

func (g *gathered) Write(p []byte) (int, error) {
	if !g.on {
		return g.Conn.Write(p)
	}
	g.b = append(g.b, p...)
	return len(p), nil
}

// A job that yields in the middle of a Write is inside it.
func TestDetachDuringWrite(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	tried := make(chan error, 1)
	const writes = 200 // more than a job may do without yielding
	client, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		if err := l.Go(func(context.Context) error {
			_, err := c.Detach()
			tried <- err
			return nil
		}); err != nil {
			return err
		}
		for range writes {
			if _, err := c.Write([]byte{0}); err != nil {
				return err
			}
		}
		return nil
	})
	expectZeros(t, client, writes)
	testkit.WantErr(t, testkit.Receive(t, tried), loop.ErrInUse)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Of Close on another goroutine and Detach, one fails.
func TestDetachOrClose(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	for range 200 {
		both := make(chan error, 1)
		client, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
			go func() { both <- c.Close() }()
			nc, err := c.Detach()
			if err == nil {
				nc.Close()
			}
			return err
		})
		closed, detached := testkit.Receive(t, both), testkit.Receive(t, done)
		if (closed == nil) == (detached == nil) {
			t.Errorf("Close: %v, Detach: %v", closed, detached)
		}
		client.Close()
	}
}

// The address of a connection that the peer has reset is not nil: there is no
// connection.
func TestDetachReset(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	begun, gone := make(chan struct{}), make(chan struct{})
	client, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		close(begun)
		<-gone // the loop does not see it
		nc, err := c.Detach()
		if err == nil {
			nc.Close()
			t.Errorf("detached, from %v", nc.RemoteAddr())
		}
		return nil
	})
	testkit.Receive(t, begun)
	testkit.Reset(client)
	close(gone)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A connection of package net is served by the loop: plain, with TLS, of a Unix socket.
func TestAttach(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	echo := loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echoOnce(c) })
	for _, network := range []string{"tcp", "unix"} {
		for name, h := range map[string]loop.Handler{"plain": echo, "TLS": tlsEcho()} {
			t.Run(network+" "+name, func(t *testing.T) {
				server, client := netPair(t, network)
				want := server.RemoteAddr().String()
				if err := l.Attach(server, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
					if got := c.RemoteAddr().String(); got != want {
						t.Errorf("the remote address is %q, was %q", got, want)
					}
					return h.Serve(ctx, c)
				})); err != nil {
					t.Fatal(err)
				}
				if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the goroutine's side still works: %v", err)
				}
				if name == "TLS" {
					client = tls.Client(client, clientConfig())
				}
				echoes(t, client, []byte("hello"))
				client.Close()
			})
		}
	}
}

// netPair returns both ends of a connection of package net.
func netPair(t *testing.T, network string) (server, client net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// What cannot be attached stays with its owner.
func TestAttachErrors(t *testing.T) {
	testkit.CheckLeaks(t)
	h := loop.HandlerFunc(func(context.Context, *loop.Conn) error { return nil })
	server, client := netPair(t, "tcp")
	l := looptest.NewIdle(t, loop.Config{MaxQueued: 1})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	udp, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	path := filepath.Join(t.TempDir(), "s")
	receiver, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	datagrams, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for what, err := range map[string]error{
		"datagrams":     l.Attach(datagrams, h),
		"UDP":           l.Attach(udp, h),
		"a pipe":        l.Attach(a, h),
		"TLS":           l.Attach(tls.Server(server, serverConfig()), h),
		"no handler":    l.Attach(server, nil),
		"no TLS config": l.Attach(server, &loop.TLSHandler{}),
		"nil":           l.Attach(nil, h),
	} {
		if err == nil {
			t.Errorf("%s was attached", what)
		}
	}
	if err := l.Post(func() {}); err != nil {
		t.Fatal(err)
	}
	testkit.WantErr(t, l.Attach(server, h), loop.ErrQueueFull)
	l.Close()
	testkit.WantErr(t, l.Attach(server, h), loop.ErrClosed)
	send(t, server, "still here")
	testkit.WantRead(t, client, "still here")
}

// A connection on its way to a loop that ends is closed.
func TestAttachToEndingLoop(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.NewIdle(t, loop.Config{})
	server, client := netPair(t, "tcp")
	if err := l.Attach(server, loop.HandlerFunc(func(context.Context, *loop.Conn) error { return nil })); err != nil {
		t.Fatal(err)
	}
	l.Close()
	expectEOF(t, client)
}

// A connection can go out and in again, many times.
func TestDetachAndAttach(t *testing.T) {
	testkit.CheckLeaks(t)
	l := looptest.New(t, loop.Config{})
	server, client := netPair(t, "tcp")
	nc := server
	for i := range 100 {
		out := make(chan net.Conn, 1)
		if err := l.Attach(nc, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			if err := echoOnce(c); err != nil {
				return err
			}
			nc, err := c.Detach()
			if err == nil {
				out <- nc
			}
			return err
		})); err != nil {
			t.Fatal(err)
		}
		echoes(t, client, fmt.Append(nil, i))
		nc = testkit.Receive(t, out)
	}
	send(t, nc, "out")
	testkit.WantRead(t, client, "out")
	nc.Close()
}
