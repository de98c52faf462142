package gnetjobs_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// closings returns an OnClose, and where its errors go.
func closings() (func(gnet.Conn, error) gnet.Action, chan error) {
	closed := make(chan error, 100)
	return func(_ gnet.Conn, err error) gnet.Action {
		closed <- err
		return gnet.None
	}, closed
}

// TestMaxInbound has a handler that does not read.
func TestMaxInbound(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxInbound: 100_000}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		most := 0 // of the event loop's goroutine, until OnClose
		s := serve(t, &handler{
			onTraffic: func(c gnet.Conn) gnet.Action {
				most = max(most, c.InboundBuffered())
				return gnet.None
			},
			onClose: onClose,
		}, wrap)
		c := dial(t, s)
		piece := make([]byte, 10_000)
		for {
			if _, err := c.Write(piece); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
		}
		testkit.WantErr(t, testkit.Receive(t, closed), gnetjobs.ErrInboundFull)
		// What gnet reads at a time, 64 KiB, comes on top.
		if most > 200_000 {
			t.Errorf("the handler saw %d bytes", most)
		}
	})
}

// TestMaxInboundReader has a handler that reads late, but within the bound.
func TestMaxInboundReader(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxInbound: 300_000}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		const message = 200_000
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if c.InboundBuffered() < message {
				return gnet.None
			}
			c.Discard(message)
			c.Write([]byte{'.'})
			return gnet.None
		}}, wrap)
		c := dial(t, s)
		for range 5 {
			if _, err := c.Write(make([]byte, message)); err != nil {
				t.Fatal(err)
			}
			testkit.WantRead(t, c, ".")
		}
	})
}

// TestMaxInboundAnswer has a handler that refuses what is too much with an
// answer, and closes: it is the handler's close.
func TestMaxInboundAnswer(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxInbound: 1000}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		s := serve(t, &handler{
			onTraffic: func(c gnet.Conn) gnet.Action {
				if c.InboundBuffered() <= 1000 {
					return gnet.None
				}
				c.Write([]byte("too much"))
				return gnet.Close
			},
			onClose: onClose,
		}, wrap)
		c := dial(t, s)
		if _, err := c.Write(make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
		testkit.WantRead(t, c, "too much")
		if err := testkit.Receive(t, closed); err != nil {
			t.Errorf("OnClose's error is %v", err)
		}
	})
}

// TestMaxOutbound has a handler that goes on writing to a peer that never
// reads.
func TestMaxOutbound(t *testing.T) {
	for _, write := range []struct {
		name string
		do   func(c gnet.Conn, p []byte) error
	}{
		{"Write", func(c gnet.Conn, p []byte) error { _, err := c.Write(p); return err }},
		{"Writev", func(c gnet.Conn, p []byte) error { _, err := c.Writev([][]byte{p[:10], p[10:]}); return err }},
	} {
		t.Run(write.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{MaxOutbound: 1 << 20}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				onClose, closed := closings()
				writes := make(chan error, 1)
				piece := make([]byte, 50_000)
				s := serve(t, &handler{
					onTraffic: func(c gnet.Conn) gnet.Action {
						for range 1000 {
							if err := write.do(c, piece); err != nil {
								writes <- err
								return gnet.None
							}
						}
						writes <- nil
						return gnet.None
					},
					onClose: onClose,
				}, wrap)
				c := dial(t, s)
				if _, err := io.WriteString(c, "everything"); err != nil {
					t.Fatal(err)
				}
				testkit.WantErr(t, testkit.Receive(t, writes), gnetjobs.ErrOutboundFull)
				testkit.WantErr(t, testkit.Receive(t, closed), gnetjobs.ErrOutboundFull)
				s.empty(t)
			})
		})
	}
}

// TestWriteTimeout has a peer that takes nothing.
func TestWriteTimeout(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{WriteTimeout: 300 * time.Millisecond}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				c.Write(make([]byte, 16<<20))
				return nil, gnet.None
			},
			onTraffic: echo,
			onClose:   onClose,
		}, wrap)
		dial(t, s)
		testkit.WantErr(t, testkit.Receive(t, closed), gnetjobs.ErrWriteTimeout, os.ErrDeadlineExceeded)
		s.empty(t)
	})
}

// TestWriteTimeoutWhileClosing has a peer that does not take what was written
// before the connection was closed.
func TestWriteTimeoutWhileClosing(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{WriteTimeout: 300 * time.Millisecond}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			c.Write(make([]byte, 16<<20))
			return nil, gnet.Close
		}}, wrap)
		dial(t, s)
		testkit.Eventually(t, "OnOpen", func() bool { return s.opened.Load() == 1 })
		s.empty(t)
	})
}

// TestSlowReader has a peer that takes a little, again and again, for several
// times WriteTimeout.
func TestSlowReader(t *testing.T) {
	for timeout := 200 * time.Millisecond; ; timeout *= 2 {
		longest, err := readSlowly(t, timeout)
		if err == nil {
			return
		}
		if longest < timeout/2 || timeout > testkit.Patience {
			t.Fatalf("%v; the client has always read within %v, WriteTimeout is %v", err, longest, timeout)
		}
		t.Logf("once more: the client has not read for %v, WriteTimeout is %v: %v", longest, timeout, err)
	}
}

// readSlowly reads a response for three times the server's WriteTimeout, and
// then the rest. longest is the time between two pieces: on a machine that is
// busy with other things the client may be too slow indeed.
func readSlowly(t *testing.T, timeout time.Duration) (longest time.Duration, err error) {
	t.Helper()
	response := pattern(8 << 20)
	// With small buffers, what the client takes is seen by the server at once.
	s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
		c.Write(response)
		return nil, gnet.Close
	}}, withTLS(gnetjobs.Options{WriteTimeout: timeout}), gnet.WithSocketSendBuffer(16<<10))
	defer s.stop(t)
	raw := s.dial(t)
	raw.(*net.TCPConn).SetReadBuffer(16 << 10)
	c := tls.Client(raw, clientConfig(0))
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	buf := make([]byte, len(response)/100)
	begin := time.Now()
	last := begin
	for rest := response; len(rest) > 0; {
		n, err := io.ReadFull(c, buf[:min(len(buf), len(rest))])
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		if err != nil {
			return longest, err
		}
		if !bytes.Equal(buf[:n], rest[:n]) {
			t.Fatal("something else has come")
		}
		if rest = rest[n:]; now.Sub(begin) < 3*timeout {
			time.Sleep(timeout / 25)
		}
	}
	if _, err := c.Read(buf); err != io.EOF {
		return longest, fmt.Errorf("at the end: %w", err)
	}
	return longest, nil
}

// TestHandshakeTimeout has clients that never end their handshake: silent ones,
// and one that sends a byte now and then.
func TestHandshakeTimeout(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for _, client := range []struct {
		name string
		send func(t *testing.T, c net.Conn) // until the connection ends
	}{
		{"silent", func(*testing.T, net.Conn) {}},
		{"a part of a header", func(t *testing.T, c net.Conn) {
			if _, err := c.Write([]byte{22, 3}); err != nil {
				t.Error(err)
			}
		}},
		{"a byte at a time", func(t *testing.T, c net.Conn) {
			hello := &recorder{Conn: c}
			tls.Client(hello, clientConfig(0)).Handshake()
			for _, b := range hello.written {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(timeout / 100)
			}
			t.Error("the ClientHello was sent in spite of the timeout")
		}},
		{"after the ClientHello", func(t *testing.T, c net.Conn) {
			hello := &recorder{Conn: c}
			tls.Client(hello, clientConfig(0)).Handshake()
			if _, err := c.Write(hello.written); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(client.name, func(t *testing.T) {
			var handshakes handshakeLog
			s := serve(t, &handler{}, withTLS(gnetjobs.Options{HandshakeTimeout: timeout, OnHandshake: handshakes.add}))
			c := s.dial(t)
			client.send(t, c)
			testkit.WantErr(t, handshakes.only(t), gnetjobs.ErrHandshakeTimeout, os.ErrDeadlineExceeded)
			if took := handshakes.took[0]; took < timeout {
				t.Errorf("after %v, the timeout is %v", took, timeout)
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
			s.empty(t)
			if n := s.opened.Load(); n != 0 {
				t.Errorf("OnOpen was called %d times", n)
			}
		})
	}
}

// TestPeerEnds proves that OnClose tells an end that was meant from a
// connection that was cut off.
func TestPeerEnds(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(c *tls.Conn) error
		want func(err error) bool
	}{
		{"close_notify and FIN", (*tls.Conn).Close, func(err error) bool { return err == io.EOF }},
		{"close_notify", (*tls.Conn).CloseWrite, func(err error) bool { return err == io.EOF }},
		{"FIN", func(c *tls.Conn) error { return c.NetConn().(*net.TCPConn).CloseWrite() }, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"FIN in a record", func(c *tls.Conn) error {
			if _, err := c.NetConn().Write([]byte{23, 3, 3, 0, 100, 1, 2, 3}); err != nil {
				return err
			}
			return c.NetConn().(*net.TCPConn).CloseWrite()
		}, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"RST", func(c *tls.Conn) error { testkit.Reset(c.NetConn()); return nil }, func(err error) bool {
			return err != nil && err != io.EOF
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				for _, edge := range []bool{false, true} {
					onClose, closed := closings()
					s := serve(t, &handler{onTraffic: echo, onClose: onClose}, withTLS(gnetjobs.Options{}), gnet.WithEdgeTriggeredIO(edge))
					c := s.dialTLS(t, clientConfig(version))
					wantEcho(t, c, "hello")
					if err := end.end(c); err != nil {
						t.Fatal(err)
					}
					if err := testkit.Receive(t, closed); !end.want(err) {
						t.Errorf("OnClose's error is %v (edge-triggered: %t)", err, edge)
					}
				}
			})
		})
	}
}

// TestLastWords proves that what a peer has sent before its end is handled.
func TestLastWords(t *testing.T) {
	message := pattern(100_000)
	for _, notify := range []bool{true, false} {
		onClose, closed := closings()
		got := make(chan string, 1)
		var buf []byte
		s := serve(t, &handler{
			onTraffic: func(c gnet.Conn) gnet.Action {
				b, _ := c.Next(-1)
				buf = append(buf, b...)
				return gnet.None
			},
			onClose: func(c gnet.Conn, err error) gnet.Action {
				got <- string(buf)
				return onClose(c, err)
			},
		}, withTLS(gnetjobs.Options{}))
		c := s.dialTLS(t, clientConfig(0))
		if _, err := c.Write(message); err != nil {
			t.Fatal(err)
		}
		if notify {
			c.Close()
		} else {
			c.NetConn().(*net.TCPConn).CloseWrite()
		}
		if testkit.Receive(t, got) != string(message) {
			t.Errorf("%d bytes of %d have arrived (close_notify: %t)", len(buf), len(message), notify)
		}
		testkit.Receive(t, closed)
	}
}

// TestGarbage has a client that does not speak TLS.
func TestGarbage(t *testing.T) {
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", strings.Repeat("\x00", 1000), "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"} {
		var handshakes handshakeLog
		s := serve(t, &handler{}, withTLS(gnetjobs.Options{OnHandshake: handshakes.add}))
		c := s.dial(t)
		if _, err := io.WriteString(c, garbage); err != nil {
			t.Fatal(err)
		}
		if err := handshakes.only(t); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handshake's error is %v", err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is still open")
		}
		s.empty(t)
		if n := s.opened.Load(); n != 0 {
			t.Errorf("OnOpen was called %d times", n)
		}
	}
}

// TestGarbageError proves that OnHandshake gets crypto/tls's own error.
func TestGarbageError(t *testing.T) {
	var handshakes handshakeLog
	s := serve(t, &handler{}, withTLS(gnetjobs.Options{OnHandshake: handshakes.add}))
	if _, err := io.WriteString(s.dial(t), "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	err := handshakes.only(t)
	if e := (tls.RecordHeaderError{}); !errors.As(err, &e) || string(e.RecordHeader[:]) != "GET /" {
		t.Errorf("the handshake's error is %v", err)
	}
}

// TestCorruptedRecord has a peer that sends nonsense after the handshake.
func TestCorruptedRecord(t *testing.T) {
	for _, record := range []struct {
		name, bytes, want string
	}{
		{"bad MAC", "\x17\x03\x03\x00\x40" + strings.Repeat("\x55", 64), "bad record MAC"},
		{"too long", "\x17\x03\x03\xff\xff" + strings.Repeat("\x55", 64), "oversized record"},
		{"no record", strings.Repeat("\x55", 64), "tls: "},
	} {
		t.Run(record.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				onClose, closed := closings()
				s := serve(t, &handler{onTraffic: echo, onClose: onClose}, withTLS(gnetjobs.Options{}))
				c := s.dialTLS(t, clientConfig(version))
				wantEcho(t, c, "hello")
				if _, err := io.WriteString(c.NetConn(), record.bytes); err != nil {
					t.Fatal(err)
				}
				if err := testkit.Receive(t, closed); err == nil || !strings.Contains(err.Error(), record.want) {
					t.Errorf("OnClose's error is %v, want one with %q", err, record.want)
				}
				if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("client: %v, want an alert", err)
				}
			})
		})
	}
}

// TestCloseNotifySlowReader proves that close_notify follows a response that
// fills what the sockets hold: the alert has to wait, too.
func TestCloseNotifySlowReader(t *testing.T) {
	const version = tls.VersionTLS12
	for _, edge := range []bool{false, true} {
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			b, _ := c.Next(-1)
			n, _ := strconv.Atoi(string(b))
			c.Write(patterns[:n])
			return gnet.Close
		}}, withTLS(gnetjobs.Options{}), gnet.WithSocketSendBuffer(4096), gnet.WithEdgeTriggeredIO(edge))
		for _, n := range []int{8000, 16_000, 24_000, 50_000} {
			raw := s.dial(t)
			raw.(*net.TCPConn).SetReadBuffer(4096)
			w := &wire{Conn: raw}
			c := tls.Client(w, clientConfig(version))
			if _, err := io.WriteString(c, strconv.Itoa(n)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.LimitReader(struct{ io.Reader }{c}, int64(n)+1))
			if len(got) != n || err != nil || !w.endedByAlert(version) {
				t.Errorf("%d bytes of %d, %v, with close_notify: %t (edge-triggered: %t)", len(got), n, err, w.endedByAlert(version), edge)
			}
			raw.Close()
		}
	}
}

// TestCloseNotify proves that the server's own close tells the client: with an
// alert, not only the end of the connection, which crypto/tls lets pass.
func TestCloseNotify(t *testing.T) {
	for _, end := range []struct {
		name      string
		onTraffic func(c gnet.Conn) gnet.Action
	}{
		{"Action", func(c gnet.Conn) gnet.Action { return gnet.Close }},
		{"Close", func(c gnet.Conn) gnet.Action { c.Close(); return gnet.None }},
		{"CloseWithCallback", func(c gnet.Conn) gnet.Action { c.CloseWithCallback(nil); return gnet.None }},
		{"EventLoop", func(c gnet.Conn) gnet.Action { c.EventLoop().Close(c); return gnet.None }},
		{"Job", func(c gnet.Conn) gnet.Action {
			gnetjobs.Job(c, func(nc net.Conn) error { return nc.Close() })
			return gnet.None
		}},
		{"Job's error", func(c gnet.Conn) gnet.Action {
			gnetjobs.Job(c, func(nc net.Conn) error { return errors.New("enough") })
			return gnet.None
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
					c.Discard(-1)
					c.Write([]byte("goodbye"))
					return end.onTraffic(c)
				}}, withTLS(gnetjobs.Options{}))
				w := &wire{Conn: s.dial(t)}
				c := tls.Client(w, clientConfig(version))
				if _, err := io.WriteString(c, "close"); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(c)
				if string(got) != "goodbye" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				if !w.endedByAlert(version) {
					t.Errorf("the last record was of type %d and had %d bytes", w.kind, w.length)
				}
			})
		})
	}
}
