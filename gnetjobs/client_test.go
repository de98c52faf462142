package gnetjobs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/pool/goroutine"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// newClient starts a gnet client, which is stopped when the test ends.
func newClient(t testing.TB, h gnet.EventHandler, opts ...gnet.Option) *gnet.Client {
	t.Helper()
	testkit.CheckLeaks(t)
	cli, err := gnet.NewClient(h, append([]gnet.Option{gnet.WithLogger(&logged)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := cli.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cli.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return cli
}

// stdServer is an echo server without gnet, with crypto/tls if cfg is not nil.
func stdServer(t testing.TB, cfg *tls.Config) (address string) {
	t.Helper()
	testkit.CheckLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	go func() {
		var conns []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// pipe is a handler that makes of each connection something to read from: its
// Context is the writing end.
func pipe() *handler {
	return &handler{
		onTraffic: func(c gnet.Conn) gnet.Action {
			b, _ := c.Next(-1)
			c.Context().(*mailbox).put(b, nil)
			return gnet.None
		},
		onClose: func(c gnet.Conn, err error) gnet.Action {
			c.Context().(*mailbox).put(nil, errors.Join(errClosed, err))
			return gnet.None
		},
	}
}

var errClosed = errors.New("OnClose")

// mailbox is what has come, for a goroutine to read.
type mailbox struct {
	mu   sync.Mutex
	cond sync.Cond
	buf  []byte
	err  error
	conn gnet.Conn // to write to
}

func newMailbox() *mailbox {
	m := &mailbox{}
	m.cond.L = &m.mu
	return m
}

func (m *mailbox) put(b []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buf = append(m.buf, b...)
	m.err = errors.Join(m.err, err)
	m.cond.Broadcast()
}

func (m *mailbox) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.buf) == 0 && m.err == nil {
		m.cond.Wait()
	}
	n := copy(p, m.buf)
	m.buf = m.buf[n:]
	if n == 0 {
		return 0, m.err
	}
	return n, nil
}

// Write waits for the callback of AsyncWrite, as p belongs to the caller.
func (m *mailbox) Write(p []byte) (int, error) {
	done := make(chan error, 1)
	if err := m.conn.AsyncWrite(p, func(_ gnet.Conn, err error) error { done <- err; return nil }); err != nil {
		return 0, err
	}
	if err := <-done; err != nil {
		return 0, err
	}
	return len(p), nil
}

func dialTimeout(cli *gnet.Client, network, address string, connCtx any) (gnet.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	return gnetjobs.Dial(ctx, cli, network, address, connCtx)
}

// dialMailbox dials, and returns the connection as something to read from and
// write to.
func dialMailbox(cli *gnet.Client, network, address string) (*mailbox, error) {
	m := newMailbox()
	c, err := dialTimeout(cli, network, address, m)
	if err != nil {
		return nil, err
	}
	m.conn = c
	return m, nil
}

// TestClient echoes with servers of crypto/tls and of this package, in all of
// gnet's ways to run a client.
func TestClient(t *testing.T) {
	for _, mode := range []struct {
		name string
		opts []gnet.Option
	}{
		{"single loop", nil},
		{"two loops", []gnet.Option{gnet.WithNumEventLoop(2)}},
		{"edge-triggered", []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"locked thread", []gnet.Option{gnet.WithLockOSThread(true)}},
		{"small buffers", []gnet.Option{gnet.WithReadBufferCap(1), gnet.WithSocketSendBuffer(4096)}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				h := pipe()
				cli := newClient(t, gnetjobs.TLSClient(h, clientConfig(version), gnetjobs.Options{}), mode.opts...)
				s := serve(t, &handler{onTraffic: echo}, withTLS(gnetjobs.Options{}))
				unix := serveAt(t, unixPath(t), &handler{onTraffic: echo}, withTLS(gnetjobs.Options{}))
				for _, server := range []struct{ network, address string }{
					{"tcp", stdServer(t, serverConfig())},
					{"tcp", s.addr},
					{"unix", unix.addr},
				} {
					m, err := dialMailbox(cli, server.network, server.address)
					if err != nil {
						t.Fatal(err)
					}
					if st := stateOf(t, m.conn); st.Version != version {
						t.Errorf("version %x", st.Version)
					}
					if err := transfer(m, rand.New(rand.NewPCG(11, 1)), size(4<<20, 1<<20)); err != nil {
						t.Error(err)
					}
					if err := m.conn.Close(); err != nil {
						t.Error(err)
					}
					if _, err := m.Read(make([]byte, 1)); err == nil || err.Error() != errClosed.Error() {
						t.Errorf("OnClose's error is %v", err)
					}
				}
				if o, c := h.opened.Load(), h.closed.Load(); o != 3 || c != 3 {
					t.Errorf("OnOpen was called %d times, OnClose %d times", o, c)
				}
			})
		})
	}
}

// stateOf asks on the event loop.
func stateOf(t testing.TB, c gnet.Conn) tls.ConnectionState {
	t.Helper()
	states := make(chan tls.ConnectionState, 1)
	if err := c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		states <- gnetjobs.ConnectionState(c)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	return testkit.Receive(t, states)
}

// TestClientWithoutTLS dials with Jobs' handler.
func TestClientWithoutTLS(t *testing.T) {
	cli := newClient(t, gnetjobs.Jobs(pipe(), gnetjobs.Options{}))
	m, err := dialMailbox(cli, "tcp", stdServer(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer(m, rand.New(rand.NewPCG(12, 1)), 1<<20); err != nil {
		t.Error(err)
	}
}

// TestDialOpen proves what Dial's caller and OnOpen see of a new connection.
func TestDialOpen(t *testing.T) {
	type opened struct {
		c        gnet.Conn
		ctx      any
		complete bool
		remote   string
	}
	opens := make(chan opened, 1)
	h := &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
		opens <- opened{c, c.Context(), gnetjobs.ConnectionState(c).HandshakeComplete, c.RemoteAddr().String()}
		return []byte("from OnOpen"), gnet.None
	}}
	echoed := make(chan bool, 1)
	var got []byte
	h.onTraffic = func(c gnet.Conn) gnet.Action {
		b, _ := c.Next(-1)
		if got = append(got, b...); string(got) == "from OnOpen" {
			echoed <- true
		}
		return gnet.None
	}
	var handshakes handshakeLog
	cli := newClient(t, gnetjobs.TLSClient(h, clientConfig(0), gnetjobs.Options{OnHandshake: handshakes.add}))
	address := stdServer(t, serverConfig())
	c, err := dialTimeout(cli, "tcp", address, "mine")
	if err != nil {
		t.Fatal(err)
	}
	if len(opens) != 1 {
		t.Fatal("Dial has returned before OnOpen")
	}
	if o := <-opens; o.c != c || o.ctx != "mine" || !o.complete || o.remote != address {
		t.Errorf("OnOpen: connection %p, want %p; Context %v; handshake complete: %t; RemoteAddr %s, want %s", o.c, c, o.ctx, o.complete, o.remote, address)
	}
	if err := handshakes.only(t); err != nil {
		t.Error(err)
	}
	testkit.Receive(t, echoed)
}

// TestDialVerifies proves that a server that is not who it should be gives
// Dial's error, and no OnOpen.
func TestDialVerifies(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, wrong := range []struct {
			name   string
			change func(*tls.Config)
			want   func(err error) bool
		}{
			{"authority", func(cfg *tls.Config) { cfg.RootCAs = x509.NewCertPool() }, func(err error) bool {
				return errors.As(err, &x509.UnknownAuthorityError{})
			}},
			{"name", func(cfg *tls.Config) { cfg.ServerName = "somebody.else" }, func(err error) bool {
				return errors.As(err, &x509.HostnameError{})
			}},
		} {
			t.Run(wrong.name, func(t *testing.T) {
				cfg := clientConfig(version)
				wrong.change(cfg)
				h := pipe()
				var handshakes handshakeLog
				cli := newClient(t, gnetjobs.TLSClient(h, cfg, gnetjobs.Options{OnHandshake: handshakes.add}))
				c, err := dialTimeout(cli, "tcp", stdServer(t, serverConfig()), nil)
				if c != nil || !wrong.want(err) {
					t.Errorf("Dial: %v, %v", c, err)
				}
				var ve *tls.CertificateVerificationError
				if err := handshakes.only(t); !errors.As(err, &ve) {
					t.Errorf("OnHandshake: %v", err)
				}
				if o, c := h.opened.Load(), h.closed.Load(); o != 0 || c != 0 {
					t.Errorf("OnOpen was called %d times, OnClose %d times", o, c)
				}
			})
		}
	})
}

// TestDialServerName proves that the server's name is that of the address,
// unless the configuration has one.
func TestDialServerName(t *testing.T) {
	names := make(chan string, 10)
	cfg := serverConfig()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}
	address := stdServer(t, cfg)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, configured, want string }{
		{"localhost", "", "localhost"},
		{"127.0.0.1", "", ""}, // an address is not sent, but checked
		{"127.0.0.1", "gnetjobs.test", "gnetjobs.test"},
	} {
		t.Run(c.host+" "+c.configured, func(t *testing.T) {
			clientCfg := clientConfig(0)
			clientCfg.ServerName = c.configured
			cli := newClient(t, gnetjobs.TLSClient(pipe(), clientCfg, gnetjobs.Options{}))
			m, err := dialMailbox(cli, "tcp", net.JoinHostPort(c.host, port))
			if err != nil {
				t.Fatal(err)
			}
			wantEcho(t, m, "hello")
			if got := testkit.Receive(t, names); got != c.want {
				t.Errorf("the server was asked for %q, want %q", got, c.want)
			}
			if clientCfg.ServerName != c.configured {
				t.Error("the caller's tls.Config was changed")
			}
		})
	}
}

// TestDialEnds proves that Dial does not wait for ever for a server that says
// nothing, and leaves no connection.
func TestDialEnds(t *testing.T) {
	// silent is a server that answers nothing. begun tells of the first byte it
	// reads, and ended of the last.
	silent := func(t *testing.T) (address string, begun chan bool, ended chan error) {
		testkit.CheckLeaks(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		begun, ended = make(chan bool), make(chan error, 1)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				ended <- err
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(testkit.Patience))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				close(begun)
			}
			_, err = io.Copy(io.Discard, c)
			ended <- err
		}()
		return ln.Addr().String(), begun, ended
	}
	t.Run("cancelled", func(t *testing.T) {
		h := pipe()
		cli := newClient(t, gnetjobs.TLSClient(h, clientConfig(0), gnetjobs.Options{}))
		address, begun, ended := silent(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dialled := make(chan error, 1)
		go func() {
			_, err := gnetjobs.Dial(ctx, cli, "tcp", address, nil)
			dialled <- err
		}()
		testkit.Receive(t, begun) // in the middle of the handshake
		cancel()
		testkit.WantErr(t, testkit.Receive(t, dialled), context.Canceled)
		if err := testkit.Receive(t, ended); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is still open")
		}
		if o, c := h.opened.Load(), h.closed.Load(); o != 0 || c != 0 {
			t.Errorf("OnOpen was called %d times, OnClose %d times", o, c)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		cli := newClient(t, gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := gnetjobs.Dial(ctx, cli, "tcp", stdServer(t, serverConfig()), nil)
		if err == nil || !strings.Contains(err.Error(), "cancel") {
			t.Errorf("Dial: %v", err)
		}
	})
	t.Run("HandshakeTimeout", func(t *testing.T) {
		cli := newClient(t, gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{HandshakeTimeout: 100 * time.Millisecond}))
		address, _, ended := silent(t)
		_, err := dialTimeout(cli, "tcp", address, nil)
		testkit.WantErr(t, err, gnetjobs.ErrHandshakeTimeout, os.ErrDeadlineExceeded)
		if err := testkit.Receive(t, ended); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is still open")
		}
	})
	t.Run("server hangs up", func(t *testing.T) {
		cli := newClient(t, gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}))
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				c.Read(make([]byte, 100))
				c.Close()
			}
		}()
		if c, err := dialTimeout(cli, "tcp", ln.Addr().String(), nil); c != nil || err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, %v", c, err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		cli := newClient(t, gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}))
		_, address, _ := strings.Cut(reservedPort(t), "://")
		if c, err := dialTimeout(cli, "tcp", address, nil); c != nil || err == nil {
			t.Errorf("Dial: %v, %v", c, err)
		}
	})
	t.Run("Stop", func(t *testing.T) {
		testkit.CheckLeaks(t)
		cli, err := gnet.NewClient(gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}), gnet.WithLogger(&logged))
		if err != nil {
			t.Fatal(err)
		}
		if err := cli.Start(); err != nil {
			t.Fatal(err)
		}
		address, begun, ended := silent(t)
		dialled := make(chan error, 1)
		go func() {
			_, err := dialTimeout(cli, "tcp", address, nil)
			dialled <- err
		}()
		testkit.Receive(t, begun)
		if err := cli.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := testkit.Receive(t, dialled); err == nil {
			t.Error("Dial has succeeded")
		}
		testkit.Receive(t, ended)
	})
	t.Run("stopped before", func(t *testing.T) {
		// gnet waits for ever, and keeps a goroutine and a descriptor: nothing
		// here may call checkLeaks.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		cli, err := gnet.NewClient(gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}), gnet.WithLogger(&logged))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(cli.Start(), cli.Stop()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			dialled := make(chan error, 1)
			go func() {
				_, err := gnetjobs.Dial(ctx, cli, "tcp", ln.Addr().String(), nil)
				dialled <- err
			}()
			err := testkit.Receive(t, dialled)
			if err == nil {
				t.Error("Dial has succeeded")
			}
			if ctx.Err() != nil { // gnet has not told that it is of no use
				testkit.WantErr(t, err, context.DeadlineExceeded)
			}
		}
	})
	t.Run("not wrapped", func(t *testing.T) {
		onClose, closed := closings()
		cli := newClient(t, &handler{onClose: onClose})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if c, err := dialTimeout(cli, "tcp", ln.Addr().String(), nil); c != nil || !errors.Is(err, gnetjobs.ErrNotWrapped) {
			t.Errorf("Dial: %v, %v", c, err)
		}
		testkit.Receive(t, closed)
	})
	t.Run("network", func(t *testing.T) {
		cli := newClient(t, gnetjobs.TLSClient(pipe(), clientConfig(0), gnetjobs.Options{}))
		for _, network := range []string{"udp", "unixgram", "ip", ""} {
			c, err := dialTimeout(cli, network, "127.0.0.1:1", nil)
			if e := net.UnknownNetworkError(""); c != nil || !errors.As(err, &e) || string(e) != network {
				t.Errorf("Dial with network %q: %v, %v", network, c, err)
			}
		}
	})
}

// TestClientDatagrams proves that a client's UDP connection, which gnet's own
// Dial makes, is passed on as it is.
func TestClientDatagrams(t *testing.T) {
	onClose, closed := closings()
	got := make(chan string, 10)
	cli := newClient(t, gnetjobs.TLSClient(&handler{
		onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { return []byte("from OnOpen"), gnet.None },
		onTraffic: func(c gnet.Conn) gnet.Action {
			packet, err := c.Next(-1)
			if err != nil {
				t.Errorf("Next: %v", err)
			}
			got <- string(packet)
			return gnet.None
		},
		onClose: onClose,
	}, clientConfig(0), gnetjobs.Options{}))
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	pc.SetDeadline(time.Now().Add(testkit.Patience))
	c, err := cli.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	n, from, err := pc.ReadFrom(buf)
	if string(buf[:n]) != "from OnOpen" || err != nil {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	for _, packet := range []string{"one", "two"} {
		if _, err := pc.WriteTo([]byte(packet), from); err != nil {
			t.Fatal(err)
		}
		if p := testkit.Receive(t, got); p != packet {
			t.Errorf("OnTraffic: %q", p)
		}
		if err := c.AsyncWrite([]byte("re: "+packet), nil); err != nil {
			t.Fatal(err)
		}
		if n, _, err := pc.ReadFrom(buf); string(buf[:n]) != "re: "+packet || err != nil {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, closed); err != nil {
		t.Errorf("OnClose's error is %v", err)
	}
}

// TestClientServerEnds proves that a client's OnClose tells how the server has
// ended.
func TestClientServerEnds(t *testing.T) {
	onClose, closed := closings()
	cli := newClient(t, gnetjobs.TLSClient(&handler{onClose: onClose}, clientConfig(0), gnetjobs.Options{}))
	for _, end := range []struct {
		name string
		end  func(c *tls.Conn)
		want error
	}{
		{"close_notify", func(c *tls.Conn) { c.Close() }, io.EOF},
		{"FIN", func(c *tls.Conn) { c.NetConn().Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(end.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			ready := make(chan bool)
			go func() {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				c := tls.Server(raw, serverConfig())
				c.SetDeadline(time.Now().Add(testkit.Patience))
				c.Handshake()
				<-ready
				end.end(c)
				raw.Close()
			}()
			_, err = dialTimeout(cli, "tcp", ln.Addr().String(), nil)
			close(ready)
			if err != nil {
				t.Fatal(err)
			}
			testkit.WantErr(t, testkit.Receive(t, closed), end.want)
		})
	}
}

// TestClientMany has many goroutines dial and echo at the same time.
func TestClientMany(t *testing.T) {
	h := pipe()
	cli := newClient(t, gnetjobs.TLSClient(h, clientConfig(0), patient), gnet.WithNumEventLoop(2))
	s := serve(t, &handler{onTraffic: echo}, withTLS(patient), gnet.WithNumEventLoop(2))
	const clients = 100
	results := make(chan error, clients)
	for i := range clients {
		go func() {
			results <- func() error {
				m, err := dialMailbox(cli, "tcp", s.addr)
				if err != nil {
					return err
				}
				defer m.conn.Close()
				return exchangeSome(m, uint64(i))
			}()
		}()
	}
	for range clients {
		if err := testkit.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, "OnClose of all", func() bool { return h.closed.Load() == clients })
	s.empty(t)
}

// TestClientJob runs blocking code on a client's connection.
func TestClientJob(t *testing.T) {
	results := make(chan error, 1)
	cli := newClient(t, gnetjobs.TLSClient(&handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
		if err := gnetjobs.Job(c, func(nc net.Conn) error {
			for i := range 10 {
				if err := exchange(nc, fmt.Sprintf("%d %s", i, pattern(i*10_000))); err != nil {
					results <- err
					return err
				}
			}
			results <- nil
			return nc.Close()
		}); err != nil {
			t.Errorf("Job: %v", err)
		}
		return nil, gnet.None
	}}, clientConfig(0), gnetjobs.Options{}))
	if _, err := dialTimeout(cli, "tcp", stdServer(t, serverConfig()), nil); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, results); err != nil {
		t.Error(err)
	}
}

// TestRegister proves that an event loop's own connections are wrapped, too.
func TestRegister(t *testing.T) {
	// gnet's pool of goroutines, which Enroll uses, keeps one for a while.
	if err := goroutine.DefaultWorkerPool.Submit(func() {}); err != nil {
		t.Fatal(err)
	}
	loops := make(chan gnet.EventLoop, 2)
	m := newMailbox()
	h := pipe()
	h.onOpen = func(c gnet.Conn) ([]byte, gnet.Action) {
		loops <- c.EventLoop()
		return nil, gnet.None
	}
	cli := newClient(t, gnetjobs.TLSClient(h, clientConfig(0), gnetjobs.Options{}))
	address := stdServer(t, serverConfig())
	if _, err := dialMailbox(cli, "tcp", address); err != nil {
		t.Fatal(err)
	}
	loop := testkit.Receive(t, loops)
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	registered, err := loop.Enroll(gnet.NewContext(context.Background(), m), raw)
	if err != nil {
		t.Fatal(err)
	}
	r := testkit.Receive(t, registered)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	m.conn = r.Conn
	if !stateOf(t, r.Conn).HandshakeComplete {
		t.Error("not a connection with TLS")
	}
	wantEcho(t, m, "hello")
}

// TestRegisterDatagrams registers a UDP socket with the event loop of a
// connection: it is passed on as gnet makes it.
func TestRegisterDatagrams(t *testing.T) {
	// As in TestRegister.
	if err := goroutine.DefaultWorkerPool.Submit(func() {}); err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		loops, contexts := make(chan gnet.EventLoop, 1), make(chan any, 2)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			if _, ok := c.LocalAddr().(*net.UDPAddr); ok {
				contexts <- c.Context()
			} else {
				loops <- c.EventLoop()
			}
			return nil, gnet.None
		}}, wrap)
		dial(t, s)
		results, err := testkit.Receive(t, loops).Register(gnet.NewContext(context.Background(), "mine"), pc.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		r := testkit.Receive(t, results)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if got := testkit.Receive(t, contexts); got != "mine" {
			t.Errorf("the context is %v", got)
		}
		r.Conn.Close()
	})
}
