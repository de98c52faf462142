package gnetjobs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// TestForeignGoroutine has a goroutine that a job has started use the job's
// connection, while the job waits for it. It gets errors, the process lives, and
// the connection is as good as before. (To pause a job on the wrong goroutine
// would end the process.)
func TestForeignGoroutine(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			job, _ := jobs.FromContext(gnetjobs.JobContext(nc))
			done := make(chan bool)
			go func() {
				defer close(done)
				results := map[string]error{}
				_, results["Read"] = nc.Read(make([]byte, 1))
				_, results["Write"] = nc.Write([]byte("nonsense"))
				results["SetDeadline"] = nc.SetDeadline(time.Now())
				results["SetReadDeadline"] = nc.SetReadDeadline(time.Now())
				results["SetWriteDeadline"] = nc.SetWriteDeadline(time.Now())
				if tc, ok := nc.(interface{ CloseWrite() error }); ok {
					results["CloseWrite"] = tc.CloseWrite()
				}
				results["Close"] = nc.Close()
				for method, err := range results {
					if !errors.Is(err, gnetjobs.ErrNotInJob) {
						t.Errorf("%s: %v", method, err)
					}
				}
				if j, ok := jobs.FromContext(gnetjobs.JobContext(nc)); ok {
					t.Errorf("JobContext has the job %v", j)
				}
			}()
			<-done // in the way that jobs must not wait, so that the loop waits too
			if j, ok := jobs.FromContext(gnetjobs.JobContext(nc)); !ok || j != job {
				t.Errorf("JobContext has %v, want %v", j, job)
			}
			return echoLines(nc)
		})}, wrap)
		wantEcho(t, dial(t, s), "hello\n")
	})
}

// TestForeignGoroutineReads is TestForeignGoroutine with a goroutine that reads
// while the job is paused in Read, or between two jobs' turns.
func TestForeignGoroutineReads(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		results := make(chan error, 1)
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			stop := make(chan bool)
			go func() {
				for {
					_, err := nc.Read(make([]byte, 1))
					select {
					case <-stop:
						results <- err
						return
					default:
					}
					if !errors.Is(err, gnetjobs.ErrNotInJob) {
						t.Errorf("Read: %v", err)
					}
				}
			}()
			err := echoLines(nc)
			close(stop)
			return err
		})}, wrap)
		c := dial(t, s)
		for range 100 {
			wantEcho(t, c, "hello\n")
		}
		c.Close()
		if err := testkit.Receive(t, results); !errors.Is(err, gnetjobs.ErrNotInJob) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
	})
}

// TestForeignGoroutineShakesHands has a goroutine that a callback of crypto/tls
// has started read from the connection in the middle of its handshake. The
// connection below is the handler's.
func TestForeignGoroutineShakesHands(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		results := make(chan error, 1)
		below := make(chan net.Conn, 1)
		cfg := serverConfig()
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			below <- hello.Conn.(interface{ NetConn() net.Conn }).NetConn()
			done := make(chan bool)
			go func() {
				defer close(done)
				_, err := hello.Conn.Read(make([]byte, 1))
				results <- err
			}()
			<-done
			return nil, nil
		}
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if got := testkit.Receive(t, below); got != c {
				t.Errorf("NetConn is %v, want %v", got, c)
			}
			return echo(c)
		}}, withConfig(cfg, gnetjobs.Options{}))
		wantEcho(t, s.dialTLS(t, clientConfig(version)), "hello")
		testkit.WantErr(t, testkit.Receive(t, results), gnetjobs.ErrNotInJob)
	})
}

// TestDeadlineOfTheSystemsClock sets deadlines without a monotonic reading on an
// event loop that began before the system's clock was set.
func TestDeadlineOfTheSystemsClock(t *testing.T) {
	for _, step := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			results := make(chan error, 1)
			s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
				gnetjobs.StepClock(c, step)
				return inJob(t, func(nc net.Conn) error {
					// Neither an hour too late,
					if err := nc.SetReadDeadline(time.Now().UTC().Add(50 * time.Millisecond)); err != nil {
						return err
					}
					_, err := nc.Read(make([]byte, 1))
					results <- err
					// nor an hour too early, nor beyond what the clock can tell.
					for _, d := range []time.Time{time.Now().UTC().Add(30 * time.Minute), time.Unix(1<<40, 0)} {
						if err := nc.SetDeadline(d); err != nil {
							return err
						}
						line := make([]byte, 6)
						if _, err := io.ReadFull(nc, line); err != nil {
							t.Errorf("Read: %v", err)
							return err
						}
						nc.Write(line)
					}
					return nil
				})(c)
			}}, withJobs(gnetjobs.Options{}))
			c := s.dial(t)
			testkit.WantErr(t, testkit.Receive(t, results), os.ErrDeadlineExceeded)
			for range 2 {
				wantEcho(t, c, "hello\n")
			}
		})
	}
}

// TestResetCancels proves that a job which waits for something other than its
// connection is cancelled when its client resets that.
func TestResetCancels(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		begun, results := make(chan bool, 1), make(chan error, 1)
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			job, _ := jobs.FromContext(gnetjobs.JobContext(nc))
			begun <- true
			for {
				if err := job.Pause(); err != nil {
					results <- err
					return err
				}
			}
		}), onClose: onClose}, wrap)
		c := dial(t, s)
		testkit.Receive(t, begun)
		if tc, ok := c.(*tls.Conn); ok {
			c = tc.NetConn()
		}
		testkit.Reset(c)
		testkit.WantErr(t, testkit.Receive(t, results), jobs.ErrCanceled)
		if err := testkit.Receive(t, closed); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("OnClose's error is %v", err)
		}
		s.empty(t)
	})
}
