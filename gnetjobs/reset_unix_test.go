//go:build unix

package gnetjobs_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// What follows when gnet finds in a Write that the peer is gone: it closes the
// connection and calls OnClose before Write returns. On Windows it does not.

// awaitReset waits until the server's socket knows that its peer has reset the
// connection. What has been received before stays there.
func awaitReset(t testing.TB, c gnet.Conn) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(c.Fd())}} // an error needs not be asked for
	for {
		n, err := unix.Poll(fds, int(testkit.Patience/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("waiting for a RST: %d, %v", n, err)
		}
		return
	}
}

// resetBelow resets the TCP connection of a client, with TLS or without.
func resetBelow(c net.Conn) {
	if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = tc.NetConn()
	}
	testkit.Reset(c)
}

// TestOnCloseWritesToAnother has OnClose, inside one connection's Write, write
// to another one: each has what was written to it, and nothing else.
func TestOnCloseWritesToAnother(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var leaver, speaker gnet.Conn // of the event loop's goroutine
		entered, gone := make(chan bool), make(chan bool)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				if leaver == nil {
					leaver = c
				} else {
					speaker = c
				}
				return []byte("welcome"), gnet.None
			},
			onTraffic: func(c gnet.Conn) gnet.Action {
				if b, _ := c.Peek(-1); string(b) != "go" {
					return echo(c)
				}
				c.Discard(-1)
				close(entered)
				<-gone
				awaitReset(t, leaver)
				if _, err := leaver.Write([]byte(strings.Repeat("for nobody ", 1000))); err == nil {
					t.Error("Write to a connection that was reset: no error")
				}
				c.Write([]byte(" that is all"))
				return gnet.None
			},
			onClose: func(c gnet.Conn, _ error) gnet.Action {
				if c != leaver {
					return gnet.None
				}
				if n, err := speaker.Write([]byte("one has left,")); n != 13 || err != nil {
					t.Errorf("Write in OnClose: %d, %v", n, err)
				}
				return gnet.None
			},
		}, wrap)
		leaving := dial(t, s)
		testkit.WantRead(t, leaving, "welcome")
		client := dial(t, s)
		testkit.WantRead(t, client, "welcome")
		if _, err := io.WriteString(client, "go"); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, entered)
		resetBelow(leaving)
		close(gone)
		testkit.WantRead(t, client, "one has left, that is all")
		wantEcho(t, client, "hello")
	})
}

// TestAlertToNobody has a peer send data and then nonsense, and leave. gnet
// closes the connection while crypto/tls sends its alert: that was the last
// event.
func TestAlertToNobody(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		var leaver gnet.Conn // of the event loop's goroutine
		over := false
		entered, gone, closed := make(chan bool), make(chan bool), make(chan error, 1)
		s := serve(t, &handler{
			onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				if leaver == nil {
					leaver = c
				}
				return []byte("welcome"), gnet.None
			},
			onTraffic: func(c gnet.Conn) gnet.Action {
				if c == leaver {
					if over {
						t.Error("OnTraffic after OnClose")
					}
					return gnet.None
				}
				if b, _ := c.Peek(-1); string(b) != "go" {
					return echo(c)
				}
				c.Discard(-1)
				close(entered)
				<-gone
				awaitReset(t, leaver)
				return gnet.None
			},
			onClose: func(c gnet.Conn, err error) gnet.Action {
				if c == leaver {
					over = true
					closed <- err
				}
				return gnet.None
			},
		}, withTLS(gnetjobs.Options{}))
		leaving := s.dialTLS(t, clientConfig(version))
		testkit.WantRead(t, leaving, "welcome")
		client := s.dialTLS(t, clientConfig(version))
		testkit.WantRead(t, client, "welcome")
		if _, err := io.WriteString(client, "go"); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, entered)
		if _, err := io.WriteString(leaving, "data"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(leaving.NetConn(), "\x17\x03\x03\x00\x40"+strings.Repeat("\x55", 64)); err != nil {
			t.Fatal(err)
		}
		resetBelow(leaving)
		close(gone)
		if err := testkit.Receive(t, closed); err == nil {
			t.Error("OnClose without an error")
		}
		wantEcho(t, client, "hello") // and the loop has turned since
	})
}

// TestOnCloseOutsideJobs proves that the handler is not called inside a job,
// even if that is where gnet closes a connection: the job's own or another one,
// which may have a job too.
func TestOnCloseOutsideJobs(t *testing.T) {
	for _, whose := range []string{"of a connection without a job", "of a connection with a job", "of the job itself"} {
		t.Run(whose, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				var leaver gnet.Conn // of the event loop's goroutine
				inside, waits := false, false
				entered, gone, closed := make(chan bool), make(chan bool), make(chan error, 1)
				itself := whose == "of the job itself"
				speak := func(nc net.Conn) error {
					if _, err := io.ReadFull(nc, make([]byte, 2)); err != nil {
						return err
					}
					close(entered)
					<-gone
					awaitReset(t, leaver)
					inside = true
					defer func() { inside = false }()
					write := leaver.Write
					if itself {
						write = nc.Write
					}
					for range 2 {
						if _, err := write([]byte("for nobody")); err == nil {
							t.Error("Write to a connection that was reset: no error")
						}
					}
					if itself {
						return errors.New("enough")
					}
					nc.Write([]byte("done"))
					inside = false // until it pauses
					return echoLines(nc)
				}
				wait := func(nc net.Conn) error {
					waits = true
					defer func() { waits = false }()
					if _, err := nc.Read(make([]byte, 1)); err == nil {
						t.Error("Read from a connection that was reset: no error")
					}
					return errors.New("enough")
				}
				s := serve(t, &handler{
					onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
						if leaver == nil {
							if leaver = c; whose == "of a connection with a job" {
								inJob(t, wait)(c)
							}
						}
						if c != leaver || itself {
							inJob(t, speak)(c)
						}
						return []byte("welcome"), gnet.None
					},
					onClose: func(c gnet.Conn, err error) gnet.Action {
						if c == leaver {
							if inside {
								t.Error("OnClose inside a job")
							}
							if waits {
								t.Error("OnClose before the end of the connection's job")
							}
							closed <- err
						}
						return gnet.None
					},
				}, wrap)
				leaving := dial(t, s)
				testkit.WantRead(t, leaving, "welcome")
				client := leaving
				if !itself {
					client = dial(t, s)
					testkit.WantRead(t, client, "welcome")
				}
				if _, err := io.WriteString(client, "go"); err != nil {
					t.Fatal(err)
				}
				testkit.Receive(t, entered)
				resetBelow(leaving)
				close(gone)
				if err := testkit.Receive(t, closed); err == nil {
					t.Error("OnClose without an error")
				}
				if !itself {
					testkit.WantRead(t, client, "done")
					wantEcho(t, client, "hello\n")
				}
			})
		})
	}
}
