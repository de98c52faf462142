package gnetjobs_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// eachWrapper runs f with TLS, and with Jobs and no TLS. dial makes the client
// that goes with it.
func eachWrapper(t *testing.T, opts gnetjobs.Options, f func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn)) {
	t.Helper()
	t.Run("TLS", func(t *testing.T) { f(t, withTLS(opts), dialTLS) })
	t.Run("Jobs", func(t *testing.T) { f(t, withJobs(opts), dialPlain) })
}

func dialTLS(t testing.TB, s *server) net.Conn { return s.dialTLS(t, clientConfig(0)) }

func dialPlain(t testing.TB, s *server) net.Conn { return s.dial(t) }

// TestEventOrder proves which events a connection has, and that all are on one
// goroutine.
func TestEventOrder(t *testing.T) {
	var events []string // of the event loop's goroutine: the race detector sees any other
	goroutine := ""
	event := func(what string) {
		if goroutine == "" {
			goroutine = goroutineID()
		}
		if id := goroutineID(); id != goroutine {
			t.Errorf("%s on goroutine %s, others on %s", what, id, goroutine)
		}
		events = append(events, what)
	}
	var first gnet.Conn
	same := func(c gnet.Conn) {
		if first == nil {
			first = c
		}
		if c != first {
			t.Errorf("a connection has two values: %p and %p", first, c)
		}
	}
	done := make(chan bool)
	h := &handler{
		onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			same(c)
			event("open")
			return nil, gnet.None
		},
		onTraffic: func(c gnet.Conn) gnet.Action {
			same(c)
			buf, _ := c.Next(-1)
			event("traffic " + string(buf))
			c.Write(buf)
			return gnet.None
		},
		onClose: func(c gnet.Conn, err error) gnet.Action {
			same(c)
			event(fmt.Sprintf("close %v", err))
			close(done)
			return gnet.None
		},
	}
	s := serve(t, h, withTLS(gnetjobs.Options{
		OnHandshake: func(c gnet.Conn, took time.Duration, err error) {
			same(c)
			event(fmt.Sprintf("handshake %v", err))
			if took <= 0 {
				t.Errorf("the handshake took %v", took)
			}
		},
	}))
	c := s.dialTLS(t, clientConfig(0))
	for i := range 3 {
		wantEcho(t, c, fmt.Sprint(i))
	}
	c.Close()
	testkit.Receive(t, done)
	want := []string{"handshake <nil>", "open", "traffic 0", "traffic 1", "traffic 2", "close EOF"}
	if strings.Join(events, ", ") != strings.Join(want, ", ") {
		t.Errorf("events %q, want %q", events, want)
	}
}

// TestOnOpenOut proves that what OnOpen returns arrives, before what OnTraffic
// writes.
func TestOnOpenOut(t *testing.T) {
	for _, n := range []int{1, 100, 1 << 20} {
		t.Run(fmt.Sprintf("%d bytes", n), func(t *testing.T) {
			out := pattern(n)
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				s := serve(t, &handler{
					onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
						c.Write([]byte("first "))
						return out, gnet.None
					},
					onTraffic: echo,
				}, wrap)
				c := dial(t, s)
				if _, err := io.WriteString(c, " and the echo"); err != nil {
					t.Fatal(err)
				}
				testkit.WantRead(t, c, "first "+string(out)+" and the echo")
			})
		})
	}
}

// TestCloseFromOnOpen proves that what was written before arrives, and then the
// end.
func TestCloseFromOnOpen(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		closed := make(chan error, 1)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				return []byte("we are closed"), gnet.Close
			},
			onTraffic: func(gnet.Conn) gnet.Action {
				t.Error("OnTraffic after Close")
				return gnet.None
			},
			onClose: func(_ gnet.Conn, err error) gnet.Action {
				closed <- err
				return gnet.None
			},
		}, wrap)
		got, err := io.ReadAll(dial(t, s))
		if string(got) != "we are closed" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := testkit.Receive(t, closed); err != nil {
			t.Errorf("OnClose's error is %v", err)
		}
	})
}

// TestBigResponseThenClose proves that a response that a slow client does not
// take at once arrives whole, although the connection was closed after it.
func TestBigResponseThenClose(t *testing.T) {
	response := pattern(16 << 20)
	if testkit.RaceEnabled || testing.Short() {
		response = response[:4<<20]
	}
	digest := sha256.Sum256(response)
	for _, mode := range []struct {
		name string
		opts []gnet.Option
	}{
		{"level-triggered", nil},
		{"edge-triggered", []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"edge-triggered, small chunk", []gnet.Option{gnet.WithEdgeTriggeredIOChunk(4096)}},
	} {
		for _, closing := range []struct {
			name  string
			close func(c gnet.Conn) gnet.Action
		}{
			{"Action", func(gnet.Conn) gnet.Action { return gnet.Close }},
			{"Close", func(c gnet.Conn) gnet.Action { c.Close(); return gnet.None }},
			{"EventLoop", func(c gnet.Conn) gnet.Action { c.EventLoop().Close(c); return gnet.None }},
		} {
			t.Run(mode.name+", "+closing.name, func(t *testing.T) {
				eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
					written, closed := make(chan bool, 1), make(chan error, 1)
					s := serve(t, &handler{
						onTraffic: func(c gnet.Conn) gnet.Action {
							defer func() { written <- true }()
							c.Discard(-1)
							if n, err := c.Write(response); n != len(response) || err != nil {
								t.Errorf("Write: %d, %v", n, err)
							}
							return closing.close(c)
						},
						onClose: func(_ gnet.Conn, err error) gnet.Action {
							closed <- err
							return gnet.None
						},
					}, wrap, mode.opts...)
					c := dial(t, s)
					if _, err := io.WriteString(c, "all of it, please"); err != nil {
						t.Fatal(err)
					}
					testkit.Receive(t, written) // before the first byte is read
					hash, buf := sha256.New(), make([]byte, 3000)
					n, err := io.CopyBuffer(hash, struct{ io.Reader }{c}, buf)
					if n != int64(len(response)) || err != nil || [32]byte(hash.Sum(nil)) != digest {
						t.Errorf("read %d bytes of %d, %v", n, len(response), err)
					}
					if err := testkit.Receive(t, closed); err != nil {
						t.Errorf("OnClose's error is %v", err)
					}
				})
			})
		}
	}
}

// TestWriteInOnClose proves that a handler's last words arrive, as with gnet, if
// it is this side that closes.
func TestWriteInOnClose(t *testing.T) {
	test := func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		for _, close := range []func(c gnet.Conn) gnet.Action{
			func(gnet.Conn) gnet.Action { return gnet.Close },
			func(c gnet.Conn) gnet.Action { c.Close(); return gnet.None },
		} {
			s := serve(t, &handler{
				onTraffic: func(c gnet.Conn) gnet.Action { c.Discard(-1); return close(c) },
				onClose: func(c gnet.Conn, _ error) gnet.Action {
					c.Write([]byte("last words"))
					return gnet.None
				},
			}, wrap)
			c := dial(t, s)
			if _, err := io.WriteString(c, "go"); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); string(got) != "last words" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		}
	}
	t.Run("gnet", func(t *testing.T) { test(t, plain, dialPlain) })
	eachWrapper(t, gnetjobs.Options{}, test)
}

// TestShutdownAction proves that Shutdown, from any event, ends Run, and that
// connections get their OnClose.
func TestShutdownAction(t *testing.T) {
	var armed bool // by a connection's first byte; of the event loop
	for _, from := range []string{"OnOpen", "OnTraffic", "OnClose"} {
		t.Run(from, func(t *testing.T) {
			armed = false
			shutdownFrom := func(event string) gnet.Action {
				if armed && event == from {
					return gnet.Shutdown
				}
				return gnet.None
			}
			s := serve(t, &handler{
				onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { return nil, shutdownFrom("OnOpen") },
				onTraffic: func(c gnet.Conn) gnet.Action {
					if a := shutdownFrom("OnTraffic"); a != gnet.None {
						return a
					}
					armed = true
					return echo(c)
				},
				onClose: func(gnet.Conn, error) gnet.Action { return shutdownFrom("OnClose") },
			}, withTLS(gnetjobs.Options{}))
			other := s.dialTLS(t, clientConfig(0))
			c := s.dialTLS(t, clientConfig(0))
			wantEcho(t, c, "armed")
			switch from {
			case "OnOpen":
				if c, err := s.connectTLS(clientConfig(0)); err == nil { // or the server has ended before
					defer c.Close()
				}
			case "OnTraffic":
				io.WriteString(c, "now")
			case "OnClose":
				c.Close()
			}
			s.stopped = true
			if err := testkit.Receive(t, s.ran); err != nil {
				t.Errorf("Run: %v", err)
			}
			s.ended(t)
			if _, err := other.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reading from a server that has ended: %v", err)
			}
		})
	}
}

// TestWake proves that Wake, from any goroutine, gives OnTraffic and then the
// callback.
func TestWake(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		var events []string
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
			onTraffic: func(c gnet.Conn) gnet.Action {
				events = append(events, fmt.Sprintf("traffic %d", c.InboundBuffered()))
				c.Write([]byte("awake"))
				return gnet.None
			},
		}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		called := make(chan error)
		if err := c.Wake(func(cb gnet.Conn, err error) error {
			if cb != c {
				t.Error("the callback has got another connection")
			}
			events = append(events, "callback")
			called <- err
			return nil
		}); err != nil {
			t.Fatalf("Wake: %v", err)
		}
		if err := testkit.Receive(t, called); err != nil {
			t.Errorf("callback: %v", err)
		}
		if got := strings.Join(events, ", "); got != "traffic 0, callback" {
			t.Errorf("events %q", got)
		}
		testkit.WantRead(t, client, "awake")
		if err := c.Wake(nil); err != nil {
			t.Errorf("Wake: %v", err)
		}
		testkit.WantRead(t, client, "awake")
	})
}

// TestWakeAndClose proves that the Action of a Wake's OnTraffic counts.
func TestWakeAndClose(t *testing.T) {
	conns := make(chan gnet.Conn, 1)
	s := serve(t, &handler{
		onOpen:    func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
		onTraffic: func(gnet.Conn) gnet.Action { return gnet.Close },
	}, withTLS(gnetjobs.Options{}))
	client := s.dialTLS(t, clientConfig(0))
	if err := testkit.Receive(t, conns).Wake(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, client); err != nil {
		t.Errorf("reading: %v", err)
	}
	client.Close() // which the server waits for
	s.empty(t)
}

// TestClosing proves that each way of closing ends the connection once, with no
// error, and calls the callback after OnClose.
func TestClosing(t *testing.T) {
	for _, way := range []struct {
		name     string
		callback bool
		close    func(c gnet.Conn, callback gnet.AsyncCallback) error
	}{
		{"Close", false, func(c gnet.Conn, _ gnet.AsyncCallback) error { return c.Close() }},
		{"Close twice", false, func(c gnet.Conn, _ gnet.AsyncCallback) error { c.Close(); return c.Close() }},
		{"CloseWithCallback", true, func(c gnet.Conn, cb gnet.AsyncCallback) error { return c.CloseWithCallback(cb) }},
		{"CloseWithCallback nil", false, func(c gnet.Conn, _ gnet.AsyncCallback) error { return c.CloseWithCallback(nil) }},
		{"EventLoop().Close", false, func(c gnet.Conn, _ gnet.AsyncCallback) error {
			return c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
				return c.EventLoop().Close(c)
			}))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				conns, events := make(chan gnet.Conn, 1), make(chan string, 10)
				s := serve(t, &handler{
					onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
					onClose: func(_ gnet.Conn, err error) gnet.Action {
						events <- fmt.Sprintf("close %v", err)
						return gnet.None
					},
				}, wrap)
				client := dial(t, s)
				c := testkit.Receive(t, conns)
				if err := way.close(c, func(_ gnet.Conn, err error) error {
					events <- fmt.Sprintf("callback %v", err)
					return nil
				}); err != nil {
					t.Errorf("closing: %v", err)
				}
				if got := testkit.Receive(t, events); got != "close <nil>" {
					t.Errorf("first came %q", got)
				}
				if way.callback {
					if got := testkit.Receive(t, events); got != "callback <nil>" {
						t.Errorf("then came %q", got)
					}
				}
				if n, err := io.Copy(io.Discard, client); n != 0 || err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
				client.Close() // which the server waits for
				s.empty(t)
				if n := len(events); n != 0 {
					t.Errorf("%d more events", n)
				}
			})
		})
	}
}

// TestEventLoop proves that what a connection's EventLoop executes runs on its
// goroutine.
func TestEventLoop(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		var loop string
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			loop = goroutineID()
			conns <- c
			return nil, gnet.None
		}}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		ran := make(chan string)
		type key struct{}
		if err := c.EventLoop().Execute(context.WithValue(t.Context(), key{}, 1), gnet.RunnableFunc(func(ctx context.Context) error {
			if ctx.Value(key{}) != 1 {
				t.Error("not the context that was given")
			}
			c.Write([]byte("from the loop"))
			ran <- goroutineID()
			return nil
		})); err != nil {
			t.Fatalf("Execute: %v", err)
		}
		if id := testkit.Receive(t, ran); id != loop {
			t.Errorf("on goroutine %s, the loop is %s", id, loop)
		}
		testkit.WantRead(t, client, "from the loop")
	})
}

// TestHandlerPasses proves that the events that are not a connection's reach
// the handler.
func TestHandlerPasses(t *testing.T) {
	ticks := make(chan bool, 1)
	h := &ticking{handler: &handler{onTraffic: echo}, ticks: ticks}
	s := serve(t, h.handler, func(gnet.EventHandler) gnet.EventHandler {
		return gnetjobs.TLS(h, serverConfig(), gnetjobs.Options{})
	}, gnet.WithTicker(true)) // OnBoot and OnShutdown are what serve and stop look for
	testkit.Receive(t, ticks)
	wantEcho(t, s.dialTLS(t, clientConfig(0)), "hello")
}

type ticking struct {
	*handler
	ticks chan bool
}

func (h *ticking) OnTick() (time.Duration, gnet.Action) {
	select {
	case h.ticks <- true:
	default:
	}
	return time.Hour, gnet.None
}

// TestDatagrams proves that a UDP listener's packets are passed on as they are.
func TestDatagrams(t *testing.T) {
	s := serveAt(t, "udp://127.0.0.1:0", &handler{onTraffic: func(c gnet.Conn) gnet.Action {
		packet, _ := c.Next(-1)
		c.Write([]byte("got " + string(packet)))
		return gnet.None
	}}, withTLS(gnetjobs.Options{}))
	wantDatagram := func(message string) {
		c := s.dial(t)
		if _, err := io.WriteString(c, message); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := c.Read(buf); string(buf[:n]) != "got "+message || err != nil {
			t.Errorf("read %q, %v", buf[:n], err)
		}
	}
	wantDatagram("one")
	wantDatagram("two")
}

// TestTLSAndUDP serves a TCP and a UDP listener with one engine.
func TestTLSAndUDP(t *testing.T) {
	testkit.CheckLeaks(t)
	path := unixPath(t)
	h := &handler{onTraffic: echo, boot: make(chan booted, 1)}
	ran := make(chan error, 1)
	var once sync.Once
	opts := []gnet.Option{gnet.WithLogger(&logged)}
	tcp := reservedPort(t)
	go func() {
		ran <- gnet.Rotate(gnetjobs.TLS(h, serverConfig(), gnetjobs.Options{}), []string{tcp, path, "udp://127.0.0.1:0"}, opts...)
	}()
	eng := testkit.Receive(t, h.boot).eng
	stop := func() {
		once.Do(func() {
			if err := eng.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if err := testkit.Receive(t, ran); err != nil {
				t.Errorf("Rotate: %v", err)
			}
		})
	}
	defer stop()
	for _, address := range []string{tcp, path} {
		network, addr, _ := strings.Cut(address, "://")
		s := &server{handler: h, network: network, addr: addr}
		wantEcho(t, s.dialTLS(t, clientConfig(0)), "hello")
	}
}
