package gnetjobs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// TestEchoWaits proves that a client of an echo server which sends faster than
// it reads is made to wait, and not cut off: it sends many times what the server
// may keep.
func TestEchoWaits(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxInbound: 256 << 10, MaxOutbound: 1 << 20}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var most atomic.Int64
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			action := echo(c)
			most.Store(max(most.Load(), int64(c.OutboundBuffered())))
			return action
		}}, wrap)
		if err := transfer(dial(t, s), rand.New(rand.NewPCG(5, 5)), size(64<<20, 16<<20)); err != nil {
			t.Fatal(err)
		}
		// What OnTraffic is shown at a time may come on top of a quarter.
		if n := most.Load(); n > 512<<10 {
			t.Errorf("%d bytes waited to be sent", n)
		}
	})
}

// TestJobUnread proves that a client is made to wait for a job that does not
// read, and that it need not have read anything for that to end.
func TestJobUnread(t *testing.T) {
	total := size(32<<20, 8<<20)
	eachWrapper(t, gnetjobs.Options{MaxInbound: 192 << 10}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		var reading atomic.Bool
		digest := make(chan []byte, 1)
		onClose, closed := closings()
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			j, ok := jobs.FromContext(gnetjobs.JobContext(nc))
			if !ok {
				return errors.New("no job in JobContext")
			}
			for !reading.Load() {
				if err := j.Pause(); err != nil {
					return err
				}
			}
			h := sha256.New()
			if _, err := io.CopyN(h, nc, int64(total)); err != nil {
				return err
			}
			digest <- h.Sum(nil)
			return nc.Close()
		}), onClose: onClose}, wrap)
		c := dial(t, s)
		sent := &progress{Hash: sha256.New()}
		writing := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.MultiWriter(c, sent), rand.NewChaCha8([32]byte{}), int64(total))
			writing <- err
		}()
		testkit.Eventually(t, "the client has sent more than is kept", func() bool { return sent.n.Load() > 300<<10 })
		reading.Store(true)
		if err := testkit.Receive(t, writing); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(testkit.Receive(t, digest), sent.Sum(nil)) {
			t.Error("the job has read something else")
		}
		if err := testkit.Receive(t, closed); err != nil {
			t.Errorf("OnClose's error is %v", err)
		}
	})
}

// TestResetWhileWaiting proves that a reset is told as one, also of a connection
// that gnet does not read from: epoll reports nothing but its end.
func TestResetWhileWaiting(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{MaxInbound: 192 << 10}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		onClose, closed := closings()
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			j, _ := jobs.FromContext(gnetjobs.JobContext(nc))
			for {
				if err := j.Pause(); err != nil {
					_, err := io.Copy(io.Discard, nc)
					return err
				}
			}
		}), onClose: onClose}, wrap)
		c := dial(t, s)
		sent := &progress{Hash: sha256.New()}
		go io.Copy(io.MultiWriter(c, sent), rand.NewChaCha8([32]byte{}))
		testkit.Eventually(t, "the client has sent more than is kept", func() bool { return sent.n.Load() > 300<<10 })
		raw := c
		if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
			raw = tc.NetConn()
		}
		testkit.Reset(raw)
		testkit.WantErr(t, testkit.Receive(t, closed), syscall.ECONNRESET)
	})
}

// TestHeldLastWords proves that what a client sends before it ends its side
// reaches the handler, also if that gets nothing because too much waits to be
// sent.
func TestHeldLastWords(t *testing.T) {
	response := make([]byte, 15<<20)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		for range 3 {
			var got bytes.Buffer
			written := make(chan bool, 1)
			onClose, closed := closings()
			s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
				first := got.Len() == 0
				c.WriteTo(&got)
				if first {
					c.Write(response)
					written <- true
				}
				return gnet.None
			}, onClose: onClose}, wrap)
			c := dial(t, s)
			if _, err := io.WriteString(c, "first "); err != nil {
				t.Fatal(err)
			}
			testkit.Receive(t, written)
			if _, err := io.WriteString(c, "last"); err != nil {
				t.Fatal(err)
			}
			var raw io.Reader = c
			c.(interface{ CloseWrite() error }).CloseWrite()
			if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
				raw = tc.NetConn()
				tc.NetConn().(interface{ CloseWrite() error }).CloseWrite()
			}
			if _, err := io.Copy(io.Discard, raw); err != nil {
				t.Error(err)
			}
			testkit.WantErr(t, testkit.Receive(t, closed), io.EOF)
			if got.String() != "first last" {
				t.Errorf("the handler got %q", got.String())
			}
		}
	})
}

// progress counts, from any goroutine's view, what has been written to a hash.
type progress struct {
	hash.Hash
	n atomic.Int64
}

func (p *progress) Write(b []byte) (int, error) {
	p.n.Add(int64(len(b)))
	return p.Hash.Write(b)
}
