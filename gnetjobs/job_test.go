package gnetjobs_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// inJob returns an OnOpen that runs fn as the connection's job.
func inJob(t testing.TB, fn func(nc net.Conn) error) func(gnet.Conn) ([]byte, gnet.Action) {
	return func(c gnet.Conn) ([]byte, gnet.Action) {
		if err := gnetjobs.Job(c, fn); err != nil {
			t.Errorf("Job: %v", err)
		}
		return nil, gnet.None
	}
}

// echoLines is blocking code as it is written for any net.Conn.
func echoLines(nc net.Conn) error {
	r, w := bufio.NewReader(nc), bufio.NewWriter(nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		w.WriteString(line)
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// TestJobEcho runs an ordinary blocking server function.
func TestJobEcho(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		s := serve(t, &handler{onOpen: inJob(t, echoLines), onClose: onClose}, wrap)
		a, b := dial(t, s), dial(t, s)
		for i := range 10 {
			wantEcho(t, a, fmt.Sprintf("a %d\n", i))
			wantEcho(t, b, fmt.Sprintf("b %d %s\n", i, pattern(i*10_000)))
		}
		a.Close()
		testkit.WantErr(t, testkit.Receive(t, closed), io.EOF)
		wantEcho(t, b, "still there\n")
	})
}

// TestJobConn proves what a job's net.Conn says of itself.
func TestJobConn(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		addresses := make(chan string, 1)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			gnetjobs.Job(c, func(nc net.Conn) error {
				if nc.LocalAddr().String() != c.LocalAddr().String() {
					t.Errorf("LocalAddr is %v, the gnet.Conn's %v", nc.LocalAddr(), c.LocalAddr())
				}
				if tc, ok := nc.(interface {
					Handshake() error
					ConnectionState() tls.ConnectionState
				}); ok {
					if err := tc.Handshake(); err != nil {
						t.Errorf("Handshake: %v", err)
					}
					if s := tc.ConnectionState(); !s.HandshakeComplete {
						t.Errorf("ConnectionState: %+v", s)
					}
				} else if gnetjobs.ConnectionState(c).HandshakeComplete {
					t.Error("no ConnectionState in a job with TLS")
				}
				addresses <- nc.RemoteAddr().String()
				return nil
			})
			return nil, gnet.None
		}}, wrap)
		c := dial(t, s)
		if got := testkit.Receive(t, addresses); got != c.LocalAddr().String() {
			t.Errorf("RemoteAddr is %s, the client's LocalAddr %s", got, c.LocalAddr())
		}
	})
}

// TestJobDeadline proves that a deadline ends a Read, and that the connection
// is as good as before when it is taken back.
func TestJobDeadline(t *testing.T) {
	for _, set := range []struct {
		name string
		set  func(net.Conn, time.Time) error
	}{
		{"SetReadDeadline", net.Conn.SetReadDeadline},
		{"SetDeadline", net.Conn.SetDeadline},
	} {
		t.Run(set.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				results := make(chan error, 10)
				s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
					for _, deadline := range []time.Time{time.Now().Add(50 * time.Millisecond), time.Now(), time.Now().Add(-time.Hour)} {
						if err := set.set(nc, deadline); err != nil {
							return err
						}
						n, err := nc.Read(make([]byte, 10))
						if n != 0 || time.Now().Before(deadline) {
							t.Errorf("Read: %d bytes, %v, before the deadline: %t", n, err, time.Now().Before(deadline))
						}
						results <- err
					}
					if err := set.set(nc, time.Time{}); err != nil {
						return err
					}
					nc.Write([]byte("go on\n"))
					return echoLines(nc)
				})}, wrap)
				c := dial(t, s)
				for range 3 {
					err := testkit.Receive(t, results)
					testkit.WantErr(t, err, os.ErrDeadlineExceeded)
					if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
						t.Errorf("%v is no net.Error, or no timeout", err)
					}
				}
				testkit.WantRead(t, c, "go on\n")
				wantEcho(t, c, "hello\n")
			})
		})
	}
}

// TestJobWriteDeadline has a client that takes nothing until Write has ended.
func TestJobWriteDeadline(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		writes := make(chan error, 1)
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			if err := nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				return err
			}
			n, err := nc.Write(make([]byte, 64<<20))
			if n == 64<<20 {
				t.Error("Write has written everything")
			}
			writes <- err
			return err
		}), onClose: onClose}, wrap)
		c := dial(t, s)
		err := testkit.Receive(t, writes)
		testkit.WantErr(t, err, os.ErrDeadlineExceeded)
		if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
			t.Errorf("%v is no net.Error, or no timeout", err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil { // the close waits for that
			t.Errorf("client: %v", err)
		}
		testkit.WantErr(t, testkit.Receive(t, closed), os.ErrDeadlineExceeded)
	})
}

// TestJobTimeouts proves that a job does not wait for ever on a peer that is
// silent, or takes nothing.
func TestJobTimeouts(t *testing.T) {
	const timeout = 100 * time.Millisecond
	t.Run("IdleTimeout", func(t *testing.T) {
		eachWrapper(t, gnetjobs.Options{IdleTimeout: timeout}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
			onClose, closed := closings()
			s := serve(t, &handler{onOpen: inJob(t, echoLines), onClose: onClose}, wrap)
			dial(t, s)
			testkit.WantErr(t, testkit.Receive(t, closed), os.ErrDeadlineExceeded)
		})
	})
	t.Run("WriteTimeout", func(t *testing.T) {
		eachWrapper(t, gnetjobs.Options{WriteTimeout: timeout}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
			onClose, closed := closings()
			writes := make(chan error, 1)
			s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
				_, err := nc.Write(make([]byte, 64<<20))
				writes <- err
				return err
			}), onClose: onClose}, wrap)
			dial(t, s)
			testkit.WantErr(t, testkit.Receive(t, writes), os.ErrDeadlineExceeded)
			testkit.WantErr(t, testkit.Receive(t, closed), os.ErrDeadlineExceeded)
		})
	})
}

// TestJobSlowReader proves that a job's Write pauses while its client takes
// nothing, that others are served meanwhile, and that everything arrives.
func TestJobSlowReader(t *testing.T) {
	response := pattern(16 << 20)
	digest := sha256.Sum256(response)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var begun, ended atomic.Bool
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			line, err := bufio.NewReader(nc).ReadString('\n')
			if err != nil {
				return err
			}
			if line != "big\n" {
				io.WriteString(nc, line)
				return echoLines(nc)
			}
			begun.Store(true)
			defer ended.Store(true)
			n, err := nc.Write(response)
			if n != len(response) {
				t.Errorf("Write: %d, %v", n, err)
			}
			if err != nil {
				return err
			}
			return nc.Close()
		})}, wrap)
		slow, other := dial(t, s), dial(t, s)
		if _, err := io.WriteString(slow, "big\n"); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the beginning of the response", begun.Load)
		for i := range 100 {
			wantEcho(t, other, fmt.Sprintf("%d\n", i))
		}
		if ended.Load() {
			t.Error("Write has returned, and nobody has read what it wrote")
		}
		hash := sha256.New()
		if n, err := io.Copy(hash, slow); n != int64(len(response)) || err != nil || [32]byte(hash.Sum(nil)) != digest {
			t.Errorf("read %d bytes of %d, %v", n, len(response), err)
		}
	})
}

// TestJobThenEvents proves that a connection whose job has returned nil goes on
// with events, beginning with the bytes that the job has left.
func TestJobThenEvents(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{
			onOpen: inJob(t, func(nc net.Conn) error {
				greeting := make([]byte, 5)
				if _, err := io.ReadFull(nc, greeting); err != nil {
					return err
				}
				_, err := fmt.Fprintf(nc, "[%s]", greeting)
				return err
			}),
			onTraffic: echo,
		}, wrap)
		c := dial(t, s)
		if _, err := io.WriteString(c, "hello world"); err != nil { // one record
			t.Fatal(err)
		}
		testkit.WantRead(t, c, "[hello] world")
		wantEcho(t, c, "and on")
	})
}

// TestJobFromOnTraffic changes between events and jobs, and proves that what a
// callback has not read is the job's.
func TestJobFromOnTraffic(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var running bool // of the event loop's goroutine
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if running {
				t.Error("OnTraffic while a job runs")
			}
			kind, err := c.Next(1)
			if err != nil {
				return gnet.None
			}
			if kind[0] == 'e' {
				return echo(c)
			}
			returned := false
			defer func() { returned = true }()
			running = true
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				defer func() { running = false }()
				if !returned {
					t.Error("the job runs before the callback has returned")
				}
				buf := make([]byte, 100)
				n, err := nc.Read(buf) // what was there
				if err != nil {
					return err
				}
				nc.Write(buf[:n])
				n, err = nc.Read(buf) // what comes
				if err != nil {
					return err
				}
				_, err = nc.Write(buf[:n])
				return err
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			return gnet.None
		}}, wrap)
		c := dial(t, s)
		for range 5 {
			if _, err := io.WriteString(c, "eevent"); err != nil {
				t.Fatal(err)
			}
			testkit.WantRead(t, c, "event")
			if _, err := io.WriteString(c, "jjob"); err != nil {
				t.Fatal(err)
			}
			testkit.WantRead(t, c, "job")
			wantEcho(t, c, "job's second")
		}
	})
}

// TestJobAfterOut proves that what OnOpen returns comes before what its job
// writes.
func TestJobAfterOut(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				_, err := nc.Write([]byte("job"))
				return err
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			return []byte("out "), gnet.None
		}}, wrap)
		testkit.WantRead(t, dial(t, s), "out job")
	})
}

// TestJobEnds proves what each way of ending a job does to its connection, and
// that other connections do not feel it.
func TestJobEnds(t *testing.T) {
	mine := errors.New("mine")
	for _, end := range []struct {
		name string
		fn   func(nc net.Conn) error
		want func(err error) bool
	}{
		{"error", func(net.Conn) error { return mine }, func(err error) bool { return errors.Is(err, mine) }},
		{"panic", func(net.Conn) error { panic(mine) }, func(err error) bool {
			var p *jobs.PanicError
			return errors.As(err, &p) && p.Value == mine
		}},
		{"panic after a pause", func(nc net.Conn) error {
			nc.Read(make([]byte, 1))
			panic(mine)
		}, func(err error) bool {
			var p *jobs.PanicError
			return errors.As(err, &p) && p.Value == mine
		}},
		{"Goexit", func(net.Conn) error { runtime.Goexit(); return nil }, func(err error) bool { return errors.Is(err, jobs.ErrGoexit) }},
		{"Close", func(nc net.Conn) error { return nc.Close() }, func(err error) bool { return err == nil }},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				onClose, closed := closings()
				s := serve(t, &handler{
					onTraffic: func(c gnet.Conn) gnet.Action {
						if b, _ := c.Peek(1); b[0] != '!' {
							return echo(c)
						}
						c.Discard(1)
						if err := gnetjobs.Job(c, func(nc net.Conn) error {
							if _, err := nc.Write([]byte("last words")); err != nil {
								return err
							}
							return end.fn(nc)
						}); err != nil {
							t.Errorf("Job: %v", err)
						}
						return gnet.None
					},
					onClose: onClose,
				}, wrap)
				other, c := dial(t, s), dial(t, s)
				wantEcho(t, other, "hello")
				if _, err := io.WriteString(c, "!!"); err != nil {
					t.Fatal(err)
				}
				testkit.WantRead(t, c, "last words")
				if err := testkit.Receive(t, closed); !end.want(err) {
					t.Errorf("OnClose's error is %v", err)
				}
				if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read %d more bytes, %v", n, err)
				}
				wantEcho(t, other, "hello")
			})
		})
	}
}

// TestJobPeerVanishes proves that a job whose client is gone gets an error from
// what it waits in, and ends.
func TestJobPeerVanishes(t *testing.T) {
	for _, wait := range []struct {
		name string
		do   func(nc net.Conn) error
	}{
		{"Read", func(nc net.Conn) error { _, err := nc.Read(make([]byte, 1)); return err }},
		{"Write", func(nc net.Conn) error { _, err := nc.Write(make([]byte, 64<<20)); return err }},
	} {
		for _, leave := range []struct {
			name string
			do   func(net.Conn)
		}{{"RST", testkit.Reset}, {"FIN", closeConn}} {
			t.Run(wait.name+" "+leave.name, func(t *testing.T) {
				eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
					onClose, closed := closings()
					begun, results := make(chan bool, 1), make(chan error, 1)
					var deferred atomic.Bool
					s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
						defer deferred.Store(true)
						begun <- true
						err := wait.do(nc)
						results <- err
						return err
					}), onClose: onClose}, wrap)
					c := dial(t, s)
					testkit.Receive(t, begun)
					if tc, ok := c.(*tls.Conn); ok {
						c = tc.NetConn()
					}
					leave.do(c)
					if err := testkit.Receive(t, results); err == nil {
						t.Error("no error")
					}
					if err := testkit.Receive(t, closed); err == nil {
						t.Error("OnClose without an error")
					}
					testkit.Eventually(t, "the end of the job", deferred.Load)
					s.empty(t)
				})
			})
		}
	}
}

// TestJobClosedFromOutside proves that Close, from another goroutine, ends a
// job that waits.
func TestJobClosedFromOutside(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		conns, results := make(chan gnet.Conn, 1), make(chan error, 1)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				conns <- c
				_, err := nc.Read(make([]byte, 1))
				results <- err
				return err
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			return nil, gnet.None
		}, onClose: onClose}, wrap)
		client := dial(t, s)
		if err := testkit.Receive(t, conns).Close(); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Receive(t, results); err == nil {
			t.Error("Read on a closed connection: no error")
		}
		testkit.Receive(t, closed)
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Errorf("client: %v", err)
		}
		client.Close() // which the server waits for
		s.empty(t)
	})
}

// TestJobKeepsEventsAway proves that OnTraffic is not called for a connection
// that has a job, not even for Wake.
func TestJobKeepsEventsAway(t *testing.T) {
	conns, called := make(chan gnet.Conn, 1), make(chan bool, 1)
	var running bool
	s := serve(t, &handler{
		onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			running = true
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				defer func() { running = false }()
				conns <- c
				buf := make([]byte, 1)
				_, err := nc.Read(buf)
				return err
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			return nil, gnet.None
		},
		onTraffic: func(c gnet.Conn) gnet.Action {
			if running {
				t.Error("OnTraffic while a job runs")
			}
			return echo(c)
		},
	}, withTLS(gnetjobs.Options{}))
	client := s.dialTLS(t, clientConfig(0))
	c := testkit.Receive(t, conns)
	if err := c.Wake(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.EventLoop().Execute(t.Context(), gnet.RunnableFunc(func(context.Context) error { called <- true; return nil })); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, called) // so the Wake is over
	if _, err := io.WriteString(client, "xrest"); err != nil {
		t.Fatal(err)
	}
	testkit.WantRead(t, client, "rest")
}

// TestMaxJobs proves that no more jobs run than MaxJobs says, and that the
// others have their turn when one ends.
func TestMaxJobs(t *testing.T) {
	const most = 2
	t.Run("Jobs", func(t *testing.T) {
		begun := make(chan bool, 10)
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			begun <- true
			return echoLines(nc)
		})}, withJobs(gnetjobs.Options{MaxJobs: most}))
		var clients []net.Conn
		for range 4 {
			clients = append(clients, s.dial(t))
		}
		testkit.Receive(t, begun)
		testkit.Receive(t, begun)
		testkit.Eventually(t, "OnOpen of all", func() bool { return s.opened.Load() == 4 })
		for range 50 { // the loop has turned since
			wantEcho(t, clients[0], "first\n")
			wantEcho(t, clients[1], "second\n")
		}
		if len(begun) != 0 {
			t.Fatalf("more than %d jobs run", most)
		}
		clients[0].Close()
		testkit.Receive(t, begun)
		wantEcho(t, clients[2], "third\n")
		if len(begun) != 0 {
			t.Fatalf("more than %d jobs run", most)
		}
		clients[3].Close() // in the queue
		clients[1].Close()
		s2 := s.dial(t)
		wantEcho(t, s2, "fifth\n")
	})
	t.Run("TLS", func(t *testing.T) { // where a handshake is a job, too
		s := serve(t, &handler{onOpen: inJob(t, echoLines)}, withTLS(gnetjobs.Options{MaxJobs: most, HandshakeTimeout: -1}))
		a, b := s.dialTLS(t, clientConfig(0)), s.dialTLS(t, clientConfig(0))
		third := make(chan error, 1)
		raw := s.dial(t)
		c := tls.Client(raw, clientConfig(0))
		go func() { third <- c.Handshake() }()
		testkit.Eventually(t, "three connections", func() bool { return s.connections() == 3 })
		for range 50 {
			wantEcho(t, a, "first\n")
			wantEcho(t, b, "second\n")
		}
		if len(third) != 0 {
			t.Errorf("the third handshake: %v", <-third)
		}
		a.Close()
		if err := testkit.Receive(t, third); err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c, "third\n")
	})
}

// TestManyJobs has a job for each of several hundred connections, one of which
// after the other comes first.
func TestManyJobs(t *testing.T) {
	s := serve(t, &handler{onOpen: inJob(t, echoLines)}, withTLS(patient), gnet.WithNumEventLoop(2))
	var clients []net.Conn
	for range size(300, 100) {
		clients = append(clients, s.dialTLS(t, clientConfig(0)))
	}
	for i := len(clients) - 1; i >= 0; i-- {
		wantEcho(t, clients[i], fmt.Sprintf("%d\n", i))
	}
}

// TestJobErrors proves what Job answers where it cannot run.
func TestJobErrors(t *testing.T) {
	forever := func(nc net.Conn) error { _, err := nc.Read(make([]byte, 1)); return err }
	t.Run("running", func(t *testing.T) {
		results := make(chan error, 2)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				results <- gnetjobs.Job(c, forever)
				return forever(nc)
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			results <- gnetjobs.Job(c, forever)
			return nil, gnet.None
		}}, withTLS(gnetjobs.Options{}))
		s.dialTLS(t, clientConfig(0))
		for range 2 {
			testkit.WantErr(t, testkit.Receive(t, results), gnetjobs.ErrJobRunning)
		}
	})
	t.Run("not wrapped", func(t *testing.T) {
		onLoop(t, plain, dialPlain, func(_ *server, c gnet.Conn) {
			testkit.WantErr(t, gnetjobs.Job(c, forever), gnetjobs.ErrNotWrapped)
		})
	})
	t.Run("closed", func(t *testing.T) {
		eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
			results := make(chan error, 1)
			s := serve(t, &handler{onTraffic: echo, onClose: func(c gnet.Conn, _ error) gnet.Action {
				results <- gnetjobs.Job(c, forever)
				return gnet.None
			}}, wrap)
			dial(t, s).Close()
			if err := testkit.Receive(t, results); err == nil {
				t.Error("a job on a closed connection")
			}
		})
	})
}

// TestJobConnAfterwards proves that a job's net.Conn is of no use after the
// job.
func TestJobConnAfterwards(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var kept net.Conn
		checked := make(chan bool, 1)
		s := serve(t, &handler{
			onOpen: inJob(t, func(nc net.Conn) error {
				kept = nc
				_, err := nc.Write([]byte("kept"))
				return err
			}),
			onTraffic: func(c gnet.Conn) gnet.Action {
				_, err := kept.Read(make([]byte, 1))
				testkit.WantErr(t, err, net.ErrClosed)
				_, err = kept.Write([]byte("nonsense"))
				testkit.WantErr(t, err, net.ErrClosed)
				checked <- true
				return echo(c)
			},
		}, wrap)
		c := dial(t, s)
		testkit.WantRead(t, c, "kept")
		wantEcho(t, c, "hello")
		testkit.Receive(t, checked)
		wantEcho(t, c, "hello")
	})
}

// TestJobCloseWrite closes one direction of TLS, and goes on in the other.
// (Without TLS there is no such thing: gnet ends a connection whose peer has
// sent FIN.)
func TestJobCloseWrite(t *testing.T) {
	t.Run("server first", func(t *testing.T) {
		eachVersion(t, func(t *testing.T, version uint16) {
			got := make(chan string, 1)
			s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
				nc.Write([]byte("all I have"))
				if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Errorf("CloseWrite: %v", err)
				}
				if _, err := nc.Write([]byte("more")); err == nil {
					t.Error("Write after CloseWrite: no error")
				}
				buf, err := io.ReadAll(nc)
				got <- string(buf)
				return err
			})}, withTLS(gnetjobs.Options{}))
			c := s.dialTLS(t, clientConfig(version))
			if b, err := io.ReadAll(c); string(b) != "all I have" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			message := string(pattern(100_000))
			if _, err := io.WriteString(c, message); err != nil {
				t.Fatal(err)
			}
			c.CloseWrite()
			if testkit.Receive(t, got) != message {
				t.Error("the job has read something else")
			}
		})
	})
	t.Run("client first", func(t *testing.T) {
		eachVersion(t, func(t *testing.T, version uint16) {
			response := pattern(8 << 20)
			s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
				b, err := io.ReadAll(nc)
				if string(b) != "question" || err != nil {
					t.Errorf("read %q, %v", b, err)
				}
				if _, err := nc.Write(response); err != nil {
					t.Errorf("Write: %v", err)
				}
				return nc.Close()
			})}, withTLS(gnetjobs.Options{}))
			c := s.dialTLS(t, clientConfig(version))
			if _, err := io.WriteString(c, "question"); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(c); string(b) != string(response) || err != nil {
				t.Errorf("read %d bytes, %v", len(b), err)
			}
		})
	})
}

// TestJobTransfer has a job echo while its client sends and reads at the same
// time.
func TestJobTransfer(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			_, err := io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
			return err
		})}, wrap)
		if err := transfer(dial(t, s), rand.New(rand.NewPCG(9, 9)), size(32<<20, 4<<20)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestJobReadCause proves that a job's Read says why its connection was closed.
func TestJobReadCause(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{WriteTimeout: 200 * time.Millisecond}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		results := make(chan error, 1)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			inJob(t, func(nc net.Conn) error {
				_, err := nc.Read(make([]byte, 1))
				results <- err
				return err
			})(c)
			return make([]byte, 16<<20), gnet.None // which nobody takes
		}}, wrap)
		dial(t, s)
		testkit.WantErr(t, testkit.Receive(t, results), gnetjobs.ErrWriteTimeout)
		s.empty(t)
	})
}

// TestJobPolled proves that a job is resumed that pauses and leaves nobody a
// way to wake it, also when it comes after another whose connection has gone.
// There are no timeouts, so nothing else wakes the loop.
func TestJobPolled(t *testing.T) {
	opts := gnetjobs.Options{HandshakeTimeout: -1, WriteTimeout: -1, IdleTimeout: -1}
	eachWrapper(t, opts, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		paused := make(chan bool, 1)
		first := true // of the event loop's goroutine
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			job, ok := jobs.FromContext(gnetjobs.JobContext(nc))
			if !ok {
				return errors.New("no job in JobContext")
			}
			if first {
				first = false
				paused <- true
				for {
					if err := job.Pause(); err != nil {
						return err
					}
				}
			}
			for range 3 {
				if err := job.Pause(); err != nil {
					return err
				}
			}
			_, err := nc.Write([]byte("resumed"))
			return err
		}), onClose: onClose}, wrap)
		leaving := dial(t, s)
		testkit.Receive(t, paused)
		leaving.Close()
		testkit.Receive(t, closed)
		for range 2 {
			testkit.WantRead(t, dial(t, s), "resumed")
		}
	})
}

// TestJobSmallMaxOutbound proves that a job's Write waits, and does not fail,
// however little may wait to be sent.
func TestJobSmallMaxOutbound(t *testing.T) {
	response := pattern(16 << 20)
	for _, limit := range []int{64 << 10, 1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{MaxOutbound: limit}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				conns := make(chan gnet.Conn, 1)
				s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
					return inJob(t, func(nc net.Conn) error {
						conns <- c
						if n, err := nc.Write(response); n != len(response) || err != nil {
							t.Errorf("Write: %d, %v", n, err)
						}
						return nc.Close()
					})(c)
				}}, wrap)
				client := dial(t, s)
				turn(t, testkit.Receive(t, conns)) // so Write waits for somebody to read
				if got, err := io.ReadAll(client); string(got) != string(response) || err != nil {
					t.Errorf("read %d bytes of %d, %v", len(got), len(response), err)
				}
			})
		})
	}
}

// TestJobLastWords proves that a job whose peer sends something and ends, while
// the job waits in Write, can read it.
func TestJobLastWords(t *testing.T) {
	errStop := errors.New("enough")
	for _, result := range []error{nil, errStop} {
		t.Run(fmt.Sprint(result), func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				onClose, closed := closings()
				conns := make(chan gnet.Conn, 1)
				message := string(pattern(100_000))
				s := serve(t, &handler{
					onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
						return inJob(t, func(nc net.Conn) error {
							conns <- c
							if _, err := nc.Write(make([]byte, 64<<20)); err == nil {
								t.Error("Write has written what nobody read")
							}
							if got, err := io.ReadAll(nc); string(got) != message || err != nil {
								t.Errorf("read %d bytes of %d, %v", len(got), len(message), err)
							}
							return result
						})(c)
					},
					onClose: onClose,
				}, wrap)
				client := dial(t, s)
				turn(t, testkit.Receive(t, conns)) // so Write waits
				if _, err := io.WriteString(client, message); err != nil {
					t.Fatal(err)
				}
				raw := client
				if tc, ok := client.(*tls.Conn); ok {
					if err := tc.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					raw = tc.NetConn()
				}
				if err := raw.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if err := testkit.Receive(t, closed); !errors.Is(err, io.EOF) && !errors.Is(err, errStop) {
					t.Errorf("OnClose's error is %v", err)
				}
			})
		})
	}
}
