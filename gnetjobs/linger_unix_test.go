//go:build unix

package gnetjobs_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// never is a LingerTimeout that no test lives to see.
const never = time.Hour

// closingWays answer a request that begins with POST, and then close, without
// having read the request to its end.
func closingWays(t testing.TB, response []byte) map[string]*handler {
	answer := func(nc net.Conn) error {
		if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil {
			return err
		}
		_, err := nc.Write(response)
		return err
	}
	enough := errors.New("enough")
	event := func(end func(c gnet.Conn) gnet.Action) *handler {
		return &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if b, _ := c.Peek(4); string(b) != "POST" {
				return gnet.None
			}
			c.Discard(4)
			if _, err := c.Write(response); err != nil {
				t.Errorf("Write: %v", err)
			}
			return end(c)
		}}
	}
	return map[string]*handler{
		"OnTraffic that returns Close": event(func(gnet.Conn) gnet.Action { return gnet.Close }),
		"Close":                        event(func(c gnet.Conn) gnet.Action { c.Close(); return gnet.None }),
		"a job that returns an error": {onOpen: inJob(t, func(nc net.Conn) error {
			return errors.Join(answer(nc), enough)
		})},
		"a job that calls Close": {onOpen: inJob(t, func(nc net.Conn) error {
			return errors.Join(answer(nc), nc.Close())
		})},
	}
}

// TestAnswerArrives proves that a client gets all of an answer, and then its
// end, if the server closes the connection without having read the request to
// its end. The client reads slowly, and sends on when the server has closed: a
// reset would cost it what it has yet to read.
func TestAnswerArrives(t *testing.T) {
	response := pattern(500_000)
	request := append([]byte("POST"), make([]byte, 50_000)...)
	modes := []struct {
		name, network string
		clients       int
		opts          []gnet.Option
	}{
		{"level-triggered", "tcp", 10, nil},
		{"edge-triggered", "tcp", 3, []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"Unix socket", "unix", 3, nil},
	}
	for _, mode := range modes {
		for way, h := range closingWays(t, response) {
			t.Run(mode.name+", "+way, func(t *testing.T) {
				eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
					onClose, closed := closings()
					h := &handler{onOpen: h.onOpen, onTraffic: h.onTraffic, onClose: onClose}
					address := "tcp://127.0.0.1:0"
					if mode.network == "unix" {
						address = "unix://" + filepath.Join(t.TempDir(), "s")
					}
					s := serveAt(t, address, h, wrap, mode.opts...)
					for range mode.clients {
						c := dial(t, s)
						// Most of the answer waits on the server's side.
						below(c).(interface{ SetReadBuffer(int) error }).SetReadBuffer(100 << 10)
						if _, err := c.Write(request[:10_000]); err != nil {
							t.Fatal(err)
						}
						got := make([]byte, 0, len(response)+16<<10)
						rest := request[10_000:]
						for len(got) < len(response) {
							n, err := c.Read(got[len(got) : len(got)+16<<10])
							if got = got[:len(got)+n]; err != nil {
								t.Fatalf("after %d bytes: %v", len(got), err)
							}
							select {
							case <-closed:
								if _, err := c.Write(rest); err != nil {
									t.Errorf("sending the rest of the request: %v", err)
								}
							default:
							}
							time.Sleep(2 * time.Millisecond) // it is slow
						}
						if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
							t.Errorf("at the end: %d bytes, %v", n, err)
						}
						if !bytes.Equal(got, response) {
							t.Error("the answer has been changed")
						}
						c.Close()
					}
					s.empty(t)
				})
			})
		}
	}
}

// below returns the connection below TLS, or c.
func below(c net.Conn) net.Conn {
	if tc, ok := c.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return c
}

// sayAndClose is an OnOpen that answers, and closes the connection.
func sayAndClose(gnet.Conn) ([]byte, gnet.Action) { return []byte("that is all"), gnet.Close }

// TestLingerEnds proves what ends a connection that lingers: the client, the
// time, or that too much comes. Descriptors that are left make the test fail.
func TestLingerEnds(t *testing.T) {
	for _, end := range []struct {
		name   string
		linger time.Duration
		do     func(t *testing.T, raw net.Conn)
	}{
		{"closed by the client", never, func(_ *testing.T, raw net.Conn) { raw.Close() }},
		{"reset by the client", never, func(_ *testing.T, raw net.Conn) { testkit.Reset(raw) }},
		{"the client's side ended", never, func(t *testing.T, raw net.Conn) {
			if err := raw.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		}},
		{"timeout", time.Millisecond, func(*testing.T, net.Conn) {}},
		{"not at all", -1, func(*testing.T, net.Conn) {}},
		{"too much", never, func(_ *testing.T, raw net.Conn) {
			for { // until the server has closed it, which dial's deadline waits for
				if _, err := raw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{LingerTimeout: end.linger}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				onClose, closed := closings()
				s := serve(t, &handler{onOpen: sayAndClose, onClose: onClose}, wrap)
				c := dial(t, s)
				if got, err := io.ReadAll(c); string(got) != "that is all" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				if err := testkit.Receive(t, closed); err != nil {
					t.Errorf("OnClose's error is %v", err)
				}
				if end.linger == never && s.connections() != 1 {
					t.Error("the connection does not linger")
				}
				end.do(t, below(c))
				s.empty(t)
			})
		})
	}
}

// TestLingerNot proves what closes at once: a connection whose peer has sent
// close_notify, one that has failed, one that SetLinger was called for.
func TestLingerNot(t *testing.T) {
	opts := gnetjobs.Options{LingerTimeout: never, MaxInbound: 100_000}
	t.Run("close_notify", func(t *testing.T) {
		s := serve(t, &handler{onTraffic: echo}, withTLS(opts))
		c := s.dialTLS(t, clientConfig(0))
		wantEcho(t, c, "hello")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		s.empty(t) // and the client has not closed
	})
	t.Run("failure", func(t *testing.T) {
		eachWrapper(t, opts, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
			s := serve(t, &handler{onOpen: func(gnet.Conn) ([]byte, gnet.Action) { return []byte("hello"), gnet.None }}, wrap)
			c := dial(t, s)
			testkit.WantRead(t, c, "hello")
			c.Write(make([]byte, 200_000)) // more than MaxInbound
			s.empty(t)
		})
	})
	t.Run("SetLinger", func(t *testing.T) {
		eachWrapper(t, opts, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
			s := serve(t, &handler{
				onOpen: func(gnet.Conn) ([]byte, gnet.Action) { return []byte("hello"), gnet.None },
				onTraffic: func(c gnet.Conn) gnet.Action {
					if err := c.SetLinger(0); err != nil {
						t.Errorf("SetLinger: %v", err)
					}
					return gnet.Close
				},
			}, wrap)
			c := dial(t, s)
			testkit.WantRead(t, c, "hello")
			if _, err := io.WriteString(c, "go"); err != nil {
				t.Fatal(err)
			}
			_, err := io.Copy(io.Discard, below(c))
			testkit.WantErr(t, err, syscall.ECONNRESET)
			s.empty(t)
		})
	})
}

// TestLingerClosed proves that a connection which lingers is closed for its
// handler, that an engine can end meanwhile, and that others are served.
func TestLingerClosed(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{LingerTimeout: never}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns, results := make(chan gnet.Conn, 1), make(chan error, 10)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return []byte("hello"), gnet.None },
			onTraffic: func(c gnet.Conn) gnet.Action {
				if b, _ := c.Peek(-1); string(b) == "never to be heard" {
					t.Error("OnTraffic after OnClose")
				}
				return echo(c)
			},
		}, wrap)
		c := dial(t, s)
		testkit.WantRead(t, c, "hello")
		conn := testkit.Receive(t, conns)
		callback := func(c gnet.Conn, err error) error {
			if c.LocalAddr() != nil {
				t.Error("it has an address still")
			}
			results <- err
			return nil
		}
		if err := conn.CloseWithCallback(callback); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Receive(t, results); err != nil {
			t.Errorf("CloseWithCallback's callback: %v", err)
		}
		if n := s.connections(); n != 1 {
			t.Errorf("%d connections, while one lingers", n)
		}
		if _, err := io.WriteString(c, "never to be heard"); err != nil {
			t.Error(err)
		}
		if err := conn.AsyncWrite([]byte("nor this"), callback); err != nil {
			t.Errorf("AsyncWrite: %v", err)
		}
		testkit.WantErr(t, testkit.Receive(t, results), net.ErrClosed)
		if err := errors.Join(conn.Wake(callback), conn.Close(), conn.CloseWithCallback(callback)); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := testkit.Receive(t, results); err != nil {
				t.Errorf("a callback: %v", err)
			}
		}
		for i := range 10 {
			other := dial(t, s)
			testkit.WantRead(t, other, "hello")
			testkit.Receive(t, conns)
			wantEcho(t, other, fmt.Sprint(i))
		}
		s.stop(t)
	})
}

// TestLingerReadsOn has a connection linger that gnet has been told not to read
// from: what its client still sends has to be taken.
func TestLingerReadsOn(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{LingerTimeout: never, MaxInbound: 192 << 10}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var enough atomic.Bool
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			j, _ := jobs.FromContext(gnetjobs.JobContext(nc))
			for !enough.Load() {
				if err := j.Pause(); err != nil {
					return err
				}
			}
			nc.Write([]byte("that is all"))
			return nc.Close()
		})}, wrap)
		c := dial(t, s)
		// Where gnet cannot be told, it is not to find that too much is unread.
		pieces := 800
		if runtime.GOOS != "linux" {
			pieces = 150
		}
		for i := range pieces {
			if _, err := c.Write(make([]byte, 1<<10)); err != nil {
				t.Fatalf("after %d KiB: %v", i, err)
			}
			if i == 100 {
				enough.Store(true)
			}
		}
		if got, err := io.ReadAll(c); string(got) != "that is all" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		c.Close()
		s.empty(t)
	})
}
