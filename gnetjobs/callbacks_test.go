package gnetjobs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// everyMethod calls what a handler may call on a connection, whatever state it
// is in.
func everyMethod(c gnet.Conn) {
	c.InboundBuffered()
	c.Peek(1)
	c.Read(make([]byte, 1))
	c.Next(1)
	c.WriteTo(io.Discard)
	c.Discard(1)
	c.Next(-1)
	c.OutboundBuffered()
	c.Write([]byte("x"))
	c.Writev([][]byte{[]byte("x")})
	c.ReadFrom(bytes.NewReader([]byte("x")))
	c.Flush()
	c.AsyncWrite([]byte("x"), func(gnet.Conn, error) error { return nil })
	c.AsyncWritev([][]byte{[]byte("x")}, nil)
	c.Wake(nil)
	c.SetContext(c.Context())
	c.LocalAddr()
	c.RemoteAddr()
	c.EventLoop()
	gnetjobs.ConnectionState(c)
}

// TestMethodsWhenClosed proves that a handler that goes on using a connection
// harms nobody: in OnClose, after its own close, and after a Write that has
// failed.
func TestMethodsWhenClosed(t *testing.T) {
	for _, when := range []struct {
		name      string
		onTraffic func(c gnet.Conn) gnet.Action
		onClose   func(c gnet.Conn, err error) gnet.Action
	}{
		{"OnClose", nil, func(c gnet.Conn, _ error) gnet.Action { everyMethod(c); return gnet.None }},
		{"OnClose that closes", nil, func(c gnet.Conn, _ error) gnet.Action {
			c.EventLoop().Close(c)
			c.Close()
			c.CloseWithCallback(nil)
			everyMethod(c)
			return gnet.Close
		}},
		{"closed", func(c gnet.Conn) gnet.Action {
			c.EventLoop().Close(c)
			everyMethod(c)
			return gnet.Close
		}, nil},
		{"failed", func(c gnet.Conn) gnet.Action {
			buf := make([]byte, 100_000)
			for range 100_000 { // until the RST has come, or too much waits
				if _, err := c.Write(buf); err != nil {
					break
				}
			}
			everyMethod(c)
			return gnet.None
		}, nil},
		{"failed, and closed", func(c gnet.Conn) gnet.Action {
			buf := make([]byte, 100_000)
			for range 100_000 {
				if _, err := c.Write(buf); err != nil {
					break
				}
			}
			everyMethod(c)
			return gnet.Close
		}, nil},
	} {
		t.Run(when.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				s := serve(t, &handler{
					onTraffic: func(c gnet.Conn) gnet.Action {
						b, _ := c.Peek(-1)
						if bytes.Equal(b, []byte("echo")) {
							return echo(c)
						}
						if when.onTraffic != nil {
							return when.onTraffic(c)
						}
						return gnet.None
					},
					onClose: when.onClose,
				}, wrap)
				other := dial(t, s)
				wantEcho(t, other, "echo")
				for range 5 {
					c := dial(t, s)
					wantEcho(t, c, "echo")
					if _, err := io.WriteString(c, "something"); err != nil {
						t.Fatal(err)
					}
					if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
						c = tc.NetConn()
					}
					testkit.Reset(c)
				}
				testkit.Eventually(t, "the end of all but one", func() bool { return s.closed.Load() == 5 && s.connections() == 1 })
				if when.onClose == nil {
					wantEcho(t, other, "echo")
				}
			})
		})
	}
}

// TestOnCloseReads proves that OnClose can read what the handler has left, as
// with gnet.
func TestOnCloseReads(t *testing.T) {
	test := func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		left := make(chan string, 1)
		s := serve(t, &handler{
			onTraffic: func(c gnet.Conn) gnet.Action {
				c.Write([]byte{'.'})
				return gnet.None
			},
			onClose: func(c gnet.Conn, _ error) gnet.Action {
				b, err := c.Next(-1)
				left <- fmt.Sprint(string(b), err)
				return gnet.None
			},
		}, wrap)
		c := dial(t, s)
		if _, err := io.WriteString(c, "unread"); err != nil {
			t.Fatal(err)
		}
		testkit.WantRead(t, c, ".")
		c.Close()
		if got := testkit.Receive(t, left); got != "unread<nil>" {
			t.Errorf("OnClose has read %q", got)
		}
	}
	t.Run("gnet", func(t *testing.T) { test(t, plain, dialPlain) })
	eachWrapper(t, gnetjobs.Options{}, test)
}

// TestJobFromElsewhere begins jobs on the event loop, but in no event of their
// connection.
func TestJobFromElsewhere(t *testing.T) {
	for _, from := range []struct {
		name string
		do   func(c gnet.Conn, f func() error) error
	}{
		{"Execute", func(c gnet.Conn, f func() error) error {
			return c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error { return f() }))
		}},
		{"AsyncWrite's callback", func(c gnet.Conn, f func() error) error {
			return c.AsyncWrite(nil, func(gnet.Conn, error) error { return f() })
		}},
		{"Wake's callback", func(c gnet.Conn, f func() error) error {
			return c.Wake(func(gnet.Conn, error) error { return f() })
		}},
	} {
		t.Run(from.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				conns, results := make(chan gnet.Conn, 1), make(chan error, 1)
				s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None }}, wrap)
				client := dial(t, s)
				c := testkit.Receive(t, conns)
				if err := from.do(c, func() error { results <- gnetjobs.Job(c, echoLines); return nil }); err != nil {
					t.Fatal(err)
				}
				if err := testkit.Receive(t, results); err != nil {
					t.Fatal(err)
				}
				wantEcho(t, client, "hello\n")
			})
		})
	}
}

// TestJobAndClose proves that a callback's Close counts, even if it has called
// Job.
func TestJobAndClose(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		for _, shut := range []func(c gnet.Conn) gnet.Action{
			func(gnet.Conn) gnet.Action { return gnet.Close },
			func(c gnet.Conn) gnet.Action { c.EventLoop().Close(c); return gnet.None },
		} {
			onClose, closed := closings()
			s := serve(t, &handler{
				onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
					inJob(t, echoLines)(c)
					return nil, shut(c)
				},
				onClose: onClose,
			}, wrap)
			client := dial(t, s)
			if n, err := io.Copy(io.Discard, client); n != 0 || err != nil {
				t.Errorf("client: %d bytes, %v", n, err)
			}
			client.Close() // which the server waits for
			if err := testkit.Receive(t, closed); err != nil {
				t.Errorf("OnClose's error is %v", err)
			}
			s.empty(t)
		}
	})
}

// TestAsyncWriteDuringJob proves that others can write to a connection whose
// job waits.
func TestAsyncWriteDuringJob(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			inJob(t, func(nc net.Conn) error {
				conns <- c
				return echoLines(nc)
			})(c)
			return nil, gnet.None
		}}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		r := bufio.NewReader(client)
		for i := range 20 {
			pushed := fmt.Sprintf("pushed %d\n", i)
			if err := c.AsyncWrite([]byte(pushed), nil); err != nil {
				t.Fatal(err)
			}
			if got, err := r.ReadString('\n'); got != pushed || err != nil {
				t.Fatalf("read %q, %v", got, err)
			}
			wantEcho(t, struct {
				io.Reader
				io.Writer
			}{r, client}, "hello\n")
		}
	})
}

// TestAsyncWriteTooMuch proves that goroutines that write to a peer that never
// reads are told, in the end.
func TestAsyncWriteTooMuch(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxOutbound: 1 << 20}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		conns := make(chan gnet.Conn, 1)
		s := serve(t, &handler{
			onOpen:  func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
			onClose: onClose,
		}, wrap)
		dial(t, s)
		c := testkit.Receive(t, conns)
		piece := make([]byte, 50_000)
		results := make(chan error, 1)
		for {
			err := c.AsyncWrite(piece, func(_ gnet.Conn, err error) error { results <- err; return nil })
			if err == nil {
				err = testkit.Receive(t, results)
			}
			if err == nil {
				continue
			}
			testkit.WantErr(t, err, gnetjobs.ErrOutboundFull)
			break
		}
		testkit.WantErr(t, testkit.Receive(t, closed), gnetjobs.ErrOutboundFull)
		s.empty(t)
		if err := c.AsyncWrite(piece, func(_ gnet.Conn, err error) error { results <- err; return nil }); err == nil {
			testkit.WantErr(t, testkit.Receive(t, results), net.ErrClosed)
		}
	})
}

// TestQueueFull proves that what waits for an event loop that is held up is
// bounded.
func TestQueueFull(t *testing.T) {
	h, conns := keepConns()
	keep := make(chan gnet.Conn, 1)
	onOpen := h.onOpen
	h.onOpen = func(c gnet.Conn) ([]byte, gnet.Action) { keep <- c; return onOpen(c) }
	s := serve(t, h, withTLS(gnetjobs.Options{MaxOutbound: 1 << 20}))
	client := s.dialTLS(t, clientConfig(0))
	c := testkit.Receive(t, keep)
	release := hold(t, conns, 1)
	piece := pattern(50_000)
	accepted := 0
	for {
		err := c.AsyncWrite(piece, nil)
		if err != nil {
			if !errors.Is(err, gnetjobs.ErrQueueFull) {
				t.Fatal(err)
			}
			break
		}
		if accepted++; accepted > 100 {
			t.Fatalf("%d bytes are queued", accepted*len(piece))
		}
	}
	release()
	for range accepted {
		testkit.WantRead(t, client, string(piece))
	}
	wantEcho(t, client, "hello")
}

// TestQueueFullOthers proves that a connection that too much is queued for can
// be closed, and that others can be written to.
func TestQueueFullOthers(t *testing.T) {
	h, conns := keepConns()
	s := serve(t, h, withTLS(gnetjobs.Options{MaxOutbound: 1 << 20}))
	clients, keep := make([]net.Conn, 3), make([]gnet.Conn, 3)
	for i := range clients {
		clients[i] = s.dialTLS(t, clientConfig(0))
		keep[i] = testkit.Receive(t, conns)
	}
	s.dialTLS(t, clientConfig(0))
	release := hold(t, conns, 1)
	fill := func(do func() error) (accepted int) {
		t.Helper()
		for {
			if err := do(); err != nil {
				testkit.WantErr(t, err, gnetjobs.ErrQueueFull)
				return accepted
			}
			if accepted++; accepted > 1<<20 {
				t.Fatal("the queue has no end")
			}
		}
	}
	piece := pattern(50_000)
	writes := fill(func() error { return keep[0].AsyncWrite(piece, nil) })
	fill(func() error { return keep[1].Wake(nil) })
	if err := keep[2].AsyncWrite([]byte("for another"), nil); err != nil {
		t.Errorf("AsyncWrite to another connection: %v", err)
	}
	for i, c := range keep[:2] {
		if err := c.Close(); err != nil {
			t.Errorf("Close of connection %d: %v", i, err)
		}
	}
	release()
	for range writes {
		testkit.WantRead(t, clients[0], string(piece))
	}
	for _, c := range clients[:2] {
		if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
			t.Errorf("a connection that was closed: %d bytes more, %v", n, err)
		}
	}
	testkit.WantRead(t, clients[2], "for another")
	wantEcho(t, clients[2], "hello")
}
