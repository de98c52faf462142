package gnetjobs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// onLoop serves one connection, whose OnOpen f is called in.
func onLoop(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn, f func(s *server, c gnet.Conn)) (*server, net.Conn) {
	t.Helper()
	var s *server
	ready, done := make(chan bool), make(chan bool)
	s = serve(t, &handler{
		onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			defer close(done)
			<-ready
			f(s, c)
			return nil, gnet.None
		},
		onTraffic: echo,
	}, wrap)
	close(ready)
	client := dial(t, s)
	testkit.Receive(t, done)
	return s, client
}

// TestContext proves that a connection keeps its handler's value, and has none
// at first.
func TestContext(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		closed := make(chan any, 1)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				if v := c.Context(); v != nil {
					t.Errorf("Context of a new connection: %v", v)
				}
				c.SetContext(1)
				return nil, gnet.None
			},
			onTraffic: func(c gnet.Conn) gnet.Action {
				c.SetContext(c.Context().(int) + 1)
				return echo(c)
			},
			onClose: func(c gnet.Conn, _ error) gnet.Action {
				closed <- c.Context()
				return gnet.None
			},
		}, wrap)
		c := dial(t, s)
		wantEcho(t, c, "one")
		wantEcho(t, c, "two")
		c.Close()
		if v := testkit.Receive(t, closed); v != 3 {
			t.Errorf("Context in OnClose: %v", v)
		}
	})
}

// TestAddresses proves that a connection has gnet's addresses.
func TestAddresses(t *testing.T) {
	describe := func(s *server, c gnet.Conn) string {
		local, remote := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
		_, port, _ := net.SplitHostPort(s.addr)
		return fmt.Sprintf("local %s, port of the listener %t; remote %s", local.IP, fmt.Sprint(local.Port) == port, remote.IP)
	}
	var want string
	t.Run("gnet", func(t *testing.T) {
		onLoop(t, plain, dialPlain, func(s *server, c gnet.Conn) { want = describe(s, c) })
	})
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var remote string
		_, client := onLoop(t, wrap, dial, func(s *server, c gnet.Conn) {
			remote = c.RemoteAddr().String()
			if got := describe(s, c); got != want {
				t.Errorf("%s; gnet: %s", got, want)
			}
		})
		if local := client.LocalAddr().String(); remote != local {
			t.Errorf("RemoteAddr is %s, the client's LocalAddr %s", remote, local)
		}
	})
}

// TestUnsupported compares what gnet's connections cannot do.
func TestUnsupported(t *testing.T) {
	describe := func(c gnet.Conn) string {
		n, err := c.SendTo([]byte("x"), c.RemoteAddr())
		return fmt.Sprint(c.SetDeadline(time.Now()), c.SetReadDeadline(time.Now()), c.SetWriteDeadline(time.Now()), n, err)
	}
	var want string
	t.Run("gnet", func(t *testing.T) {
		onLoop(t, plain, dialPlain, func(_ *server, c gnet.Conn) { want = describe(c) })
	})
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		_, client := onLoop(t, wrap, dial, func(_ *server, c gnet.Conn) {
			if got := describe(c); got != want {
				t.Errorf("%s; gnet: %s", got, want)
			}
		})
		wantEcho(t, client, "hello")
	})
}

// TestWriting proves that what the methods of gnet.Writer write arrives in
// order, and what they return.
func TestWriting(t *testing.T) {
	big := pattern(1 << 20)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		_, client := onLoop(t, wrap, dial, func(_ *server, c gnet.Conn) {
			want := func(method string, n int64, err error, length int) {
				t.Helper()
				if n != int64(length) || err != nil {
					t.Errorf("%s: %d, %v; want %d", method, n, err, length)
				}
			}
			n, err := c.Write([]byte("Write "))
			want("Write", int64(n), err, 6)
			n, err = c.Write(nil)
			want("Write", int64(n), err, 0)
			n, err = c.Writev([][]byte{[]byte("Wri"), nil, []byte("tev ")})
			want("Writev", int64(n), err, 7)
			n, err = c.Writev(nil)
			want("Writev", int64(n), err, 0)
			m, err := c.ReadFrom(bytes.NewReader(big))
			want("ReadFrom", m, err, len(big))
			m, err = c.ReadFrom(bytes.NewReader(nil))
			want("ReadFrom", m, err, 0)
			if err := c.Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
			n, err = c.Write(big)
			want("Write", int64(n), err, len(big))
		})
		testkit.WantRead(t, client, "Write Writev "+string(big)+string(big))
		wantEcho(t, client, "hello")
	})
}

// tap keeps what is read.
type tap struct {
	net.Conn
	got bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got.Write(p[:n])
	return n, err
}

// accepting tells of gnet's OnOpen, which comes before any byte of the peer's.
type accepting struct {
	gnet.EventHandler
	accepted chan bool
}

func (a *accepting) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	defer func() { a.accepted <- true }()
	return a.EventHandler.OnOpen(c)
}

// TestWriteInOnHandshake proves that nothing can be written before OnOpen: it
// would not be encrypted, or come before what OnOpen writes.
func TestWriteInOnHandshake(t *testing.T) {
	const secret = "not for everybody"
	for _, end := range []struct {
		name    string
		timeout time.Duration
		meet    func(t *testing.T, s *server, c net.Conn) // until the connection ends, or the server knows it
	}{
		{"success", 0, func(t *testing.T, s *server, c net.Conn) {
			wantEcho(t, tls.Client(c, clientConfig(0)), "hello")
			c.Close()
		}},
		{"no TLS", 0, func(t *testing.T, s *server, c net.Conn) {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, c)
		}},
		{"refused certificate", 0, func(t *testing.T, s *server, c net.Conn) {
			cfg := clientConfig(0)
			cfg.ServerName = "somebody else"
			if tls.Client(c, cfg).Handshake() == nil {
				t.Error("a handshake with somebody else")
			}
			io.Copy(io.Discard, c)
		}},
		{"end before a byte", 0, func(t *testing.T, s *server, c net.Conn) {
			if err := c.(*tap).Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, c)
		}},
		{"timeout before a byte", 50 * time.Millisecond, func(t *testing.T, s *server, c net.Conn) {
			io.Copy(io.Discard, c)
		}},
		{"timeout after a byte", 50 * time.Millisecond, func(t *testing.T, s *server, c net.Conn) {
			if _, err := c.Write([]byte{22}); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, c)
		}},
		{"Stop before a byte", -1, func(t *testing.T, s *server, c net.Conn) {
			s.stop(t)
			io.Copy(io.Discard, c)
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			told, accepted := make(chan bool, 1), make(chan bool, 1)
			wrap := withTLS(gnetjobs.Options{
				HandshakeTimeout: end.timeout,
				OnHandshake: func(c gnet.Conn, _ time.Duration, err error) {
					if (err == nil) != (end.name == "success") {
						t.Errorf("OnHandshake: %v", err)
					}
					n, err := c.Write([]byte(secret))
					m, err2 := c.Writev([][]byte{[]byte(secret), []byte(secret)})
					k, err3 := c.ReadFrom(strings.NewReader(secret))
					if n != 0 || m != 0 || k != 0 || err == nil || err2 == nil || err3 == nil {
						t.Errorf("OnHandshake's Write: %d, %v; Writev: %d, %v; ReadFrom: %d, %v", n, err, m, err2, k, err3)
					}
					told <- true
				},
			})
			s := serve(t, &handler{onTraffic: echo}, func(h gnet.EventHandler) gnet.EventHandler { return &accepting{wrap(h), accepted} })
			c := &tap{Conn: s.dial(t)}
			testkit.Receive(t, accepted)
			end.meet(t, s, c)
			testkit.Receive(t, told)
			if bytes.Contains(c.got.Bytes(), []byte(secret)) {
				t.Errorf("the client has %q", c.got.Bytes())
			}
		})
	}
}

// TestWriteKeepsNothing proves that what was written may be changed at once.
func TestWriteKeepsNothing(t *testing.T) {
	want := pattern(1 << 20)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		_, client := onLoop(t, wrap, dial, func(_ *server, c gnet.Conn) {
			for range 3 {
				buf := bytes.Clone(want)
				c.Write(buf)
				clear(buf)
				buf = bytes.Clone(want)
				c.Writev([][]byte{buf[:1000], buf[1000:]})
				clear(buf)
			}
		})
		for range 6 {
			testkit.WantRead(t, client, string(want))
		}
	})
}

// TestOutboundBuffered proves that what a client does not take is counted, and
// is gone when the client has taken it.
func TestOutboundBuffered(t *testing.T) {
	response := pattern(8 << 20)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		buffered := make(chan int)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				if n := c.OutboundBuffered(); n != 0 {
					t.Errorf("%d bytes wait in OnOpen", n)
				}
				conns <- c
				c.Write(response)
				return nil, gnet.None
			},
			onTraffic: func(c gnet.Conn) gnet.Action {
				buffered <- c.OutboundBuffered()
				return gnet.None
			},
		}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		if err := c.Wake(nil); err != nil {
			t.Fatal(err)
		}
		if n := testkit.Receive(t, buffered); n == 0 || n > len(response)+1<<20 {
			t.Errorf("%d bytes wait", n)
		}
		testkit.WantRead(t, client, string(response))
		testkit.Eventually(t, "nothing that waits", func() bool {
			c.Wake(nil)
			return testkit.Receive(t, buffered) == 0
		})
	})
}

// TestConnectionState proves that a handler sees the state of its connection's
// TLS: the protocol that was chosen, and the client's certificate.
func TestConnectionState(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		cfg := serverConfig()
		cfg.NextProtos = []string{"other", "echo"}
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, testkit.Roots(ecdsaCert())
		check := func(event string, s tls.ConnectionState) {
			if !s.HandshakeComplete || s.Version != version || s.NegotiatedProtocol != "echo" || s.ServerName != "gnetjobs.test" || len(s.PeerCertificates) != 1 {
				t.Errorf("%s: %+v", event, s)
			}
		}
		closed := make(chan bool)
		var told atomic.Bool
		opts := gnetjobs.Options{OnHandshake: func(c gnet.Conn, _ time.Duration, err error) {
			if err != nil {
				t.Errorf("OnHandshake: %v", err)
			}
			check("OnHandshake", gnetjobs.ConnectionState(c))
			told.Store(true)
		}}
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				check("OnOpen", gnetjobs.ConnectionState(c))
				return nil, gnet.None
			},
			onTraffic: func(c gnet.Conn) gnet.Action {
				check("OnTraffic", gnetjobs.ConnectionState(c))
				return echo(c)
			},
			onClose: func(c gnet.Conn, _ error) gnet.Action {
				close(closed)
				return gnet.None
			},
		}, withConfig(cfg, opts))
		clientCfg := clientConfig(version)
		clientCfg.NextProtos = []string{"echo"}
		clientCfg.Certificates = []tls.Certificate{*ecdsaCert()}
		c := s.dialTLS(t, clientCfg)
		wantEcho(t, c, "hello")
		c.Close()
		testkit.Receive(t, closed)
		if !told.Load() {
			t.Error("OnHandshake was not called")
		}
	})
	t.Run("without TLS", func(t *testing.T) {
		for _, wrap := range []func(gnet.EventHandler) gnet.EventHandler{withJobs(gnetjobs.Options{}), plain} {
			onLoop(t, wrap, dialPlain, func(_ *server, c gnet.Conn) {
				if s := gnetjobs.ConnectionState(c); s.HandshakeComplete || s.Version != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	})
}

// TestClientCertificateRefused proves that a server that wants a certificate
// does not serve a client without.
func TestClientCertificateRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		cfg := serverConfig()
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		var handshakes handshakeLog
		s := serve(t, &handler{onTraffic: echo}, withConfig(cfg, gnetjobs.Options{OnHandshake: handshakes.add}))
		c := tls.Client(s.dial(t), clientConfig(version))
		if err := exchange(c, "hello"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			t.Errorf("client: %v, want an alert", err)
		}
		if err := handshakes.only(t); err == nil {
			t.Error("the handshake succeeded")
		}
		s.empty(t)
		if n := s.opened.Load(); n != 0 {
			t.Errorf("OnOpen was called %d times", n)
		}
	})
}

// TestResumption proves that session tickets work: a client's second connection
// is a resumed one.
func TestResumption(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		s := serve(t, &handler{onTraffic: echo}, withTLS(gnetjobs.Options{}))
		cfg := clientConfig(version)
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			c := s.dialTLS(t, cfg)
			wantEcho(t, c, "hello")
			if resumed := c.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("connection %d: DidResume is %t", i, resumed)
			}
			c.Close()
		}
	})
}
