package gnetjobs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// cutter is a client's connection that lets so many bytes through and then
// fails, with the connection reset or ended.
type cutter struct {
	net.Conn
	left int
	cut  func(net.Conn)
}

var errCut = errors.New("cut")

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.cut(c.Conn)
	return n, errCut
}

// A client's first flight has 200 to 2,000 bytes, all of its handshake a
// hundred more.
const handshakeBytes = 2200

// A way of leaving takes a fresh connection and is done with it when it
// returns.
var waysToLeave = []struct {
	name  string
	leave func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error
}{
	{"reset before a byte", func(raw net.Conn, _ *tls.Config, _ *rand.Rand) error {
		testkit.Reset(raw)
		return nil
	}},
	{"end before a byte", func(raw net.Conn, _ *tls.Config, _ *rand.Rand) error {
		return raw.Close()
	}},
	{"reset in the ClientHello", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		return wantCut(tls.Client(&cutter{raw, 1 + rnd.IntN(150), testkit.Reset}, cfg).Handshake())
	}},
	{"end in the ClientHello", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		return wantCut(tls.Client(&cutter{raw, 1 + rnd.IntN(150), closeConn}, cfg).Handshake())
	}},
	{"reset after the ClientHello", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		hello := &recorder{Conn: raw}
		tls.Client(hello, cfg).Handshake()
		if _, err := raw.Write(hello.written); err != nil {
			return err
		}
		if rnd.IntN(2) == 0 { // and after some of the answer
			if _, err := io.ReadFull(raw, make([]byte, 1+rnd.IntN(50))); err != nil {
				return err
			}
		}
		testkit.Reset(raw)
		return nil
	}},
	{"reset before Finished", func(raw net.Conn, cfg *tls.Config, _ *rand.Rand) error {
		cfg.VerifyConnection = func(tls.ConnectionState) error { testkit.Reset(raw); return nil }
		if tls.Client(raw, cfg).Handshake() == nil {
			return errors.New("a handshake on a closed connection")
		}
		return nil
	}},
	{"alert", func(raw net.Conn, cfg *tls.Config, _ *rand.Rand) error {
		cfg.ServerName = "somebody else"
		if tls.Client(raw, cfg).Handshake() == nil {
			return errors.New("a handshake with somebody else")
		}
		return raw.Close()
	}},
	{"reset anywhere", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		c := tls.Client(&cutter{raw, rnd.IntN(2 * handshakeBytes), testkit.Reset}, cfg)
		for {
			if _, err := c.Write(make([]byte, 1+rnd.IntN(200))); err != nil {
				return nil
			}
		}
	}},
	{"reset after the handshake", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		err := tls.Client(raw, cfg).Handshake()
		testkit.Reset(raw)
		return err
	}},
	{"reset in a record", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		cut := &cutter{raw, 1 << 20, testkit.Reset}
		c := tls.Client(cut, cfg)
		if err := exchange(c, "hello"); err != nil {
			return err
		}
		cut.left = rnd.IntN(1000)
		_, err := c.Write(make([]byte, 1000))
		return wantCut(err)
	}},
	{"end in a record", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		cut := &cutter{raw, 1 << 20, closeConn}
		c := tls.Client(cut, cfg)
		if err := exchange(c, "hello"); err != nil {
			return err
		}
		cut.left = rnd.IntN(1000)
		_, err := c.Write(make([]byte, 1000))
		return wantCut(err)
	}},
	{"end without close_notify", func(raw net.Conn, cfg *tls.Config, _ *rand.Rand) error {
		if err := exchange(tls.Client(raw, cfg), "hello"); err != nil {
			return err
		}
		return raw.Close()
	}},
	{"reset with an answer on its way", func(raw net.Conn, cfg *tls.Config, rnd *rand.Rand) error {
		c := tls.Client(raw, cfg)
		if err := c.Handshake(); err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, 1+rnd.IntN(100_000))); err != nil {
			return err
		}
		testkit.Reset(raw)
		return nil
	}},
	{"close_notify", func(raw net.Conn, cfg *tls.Config, _ *rand.Rand) error {
		c := tls.Client(raw, cfg)
		if err := exchange(c, "hello"); err != nil {
			return err
		}
		return c.Close()
	}},
	{"silence", func(raw net.Conn, _ *tls.Config, rnd *rand.Rand) error {
		if _, err := raw.Write([]byte{22, 3, 1, 1, 0}[:rnd.IntN(6)]); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, raw) // until the server has enough
		raw.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("the server waits for ever")
		}
		return nil
	}},
}

// recorder keeps what is written, and gives nothing to read.
type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (r *recorder) Write(p []byte) (int, error) {
	r.written = append(r.written, p...)
	return len(p), nil
}

func closeConn(c net.Conn) { c.Close() }

func wantCut(err error) error {
	if errors.Is(err, errCut) {
		return nil
	}
	return errors.Join(errors.New("not cut"), err)
}

// TestVanish has clients leave at random moments in all ways. Nothing of them
// may be left, and others are served.
func TestVanish(t *testing.T) {
	rounds := 25
	if testkit.RaceEnabled || testing.Short() {
		rounds = 8
	}
	var begun, ended atomic.Int64
	for _, server := range []struct {
		name string
		h    *handler
		opts []gnet.Option
	}{
		{"events", &handler{onTraffic: echo}, nil},
		{"events, edge-triggered", &handler{onTraffic: echo}, []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"jobs", &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			if err := gnetjobs.Job(c, func(nc net.Conn) error {
				begun.Add(1)
				defer ended.Add(1)
				_, err := io.Copy(nc, nc)
				return err
			}); err != nil {
				t.Errorf("Job: %v", err)
			}
			return nil, gnet.None
		}}, []gnet.Option{gnet.WithNumEventLoop(2)}},
	} {
		t.Run(server.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				for timeout := time.Second; !vanish(t, server.h, server.opts, version, rounds, timeout); timeout *= 2 {
					t.Logf("once more: the machine is too busy for handshakes in %v", timeout)
				}
			})
		})
	}
	if b, e := begun.Load(), ended.Load(); b != e {
		t.Errorf("%d jobs began, %d ended", b, e)
	}
}

// vanish has clients leave one server, which ends the silent ones after timeout.
// It returns false if another client needed so long that it may have been ended
// too.
func vanish(t *testing.T, like *handler, opts []gnet.Option, version uint16, rounds int, timeout time.Duration) (inTime bool) {
	inTime = true
	var handshakes handshakeLog
	h := &handler{onOpen: like.onOpen, onTraffic: like.onTraffic}
	s := serve(t, h, withTLS(gnetjobs.Options{
		HandshakeTimeout: timeout,
		MaxWait:          -1, // or a busy machine turns clients away
		OnHandshake:      handshakes.add,
	}), opts...)
	defer s.stop(t)
	wantEcho(t, s.dialTLS(t, clientConfig(version)), "hello") // before, so that CountConnections means something

	order := rand.New(rand.NewPCG(7, uint64(version)))
	type result struct {
		way  string
		took time.Duration
		err  error
	}
	var clients int
	results := make(chan result, rounds*len(waysToLeave))
	atOnce := make(chan bool, 32)
	silent := make(chan bool, 1000)
	for range rounds {
		for _, i := range order.Perm(len(waysToLeave)) {
			way, seed := waysToLeave[i], order.Uint64()
			clients++
			slots := atOnce
			if way.name == "silence" { // which would keep the others waiting
				slots = silent
			}
			go func() {
				slots <- true
				defer func() { <-slots }()
				begin := time.Now()
				raw, err := s.connect()
				if err == nil {
					err = way.leave(raw, clientConfig(version), rand.New(rand.NewPCG(seed, 1)))
				}
				results <- result{way.name, time.Since(begin), err}
			}()
		}
	}
	for range clients {
		switch r := testkit.Receive(t, results); {
		case r.err == nil:
		case r.took > timeout/2 && timeout < testkit.Patience/2:
			inTime = false
		default:
			t.Errorf("%s: %v after %v", r.way, r.err, r.took)
		}
	}
	testkit.Eventually(t, "the end of every handshake", func() bool {
		good, bad := handshakes.count()
		return good+bad == clients+1
	})
	c := s.dialTLS(t, clientConfig(version))
	wantEcho(t, c, "hello")
	testkit.Eventually(t, "two connections", func() bool { return s.connections() == 2 })
	if good, _ := handshakes.count(); int64(good) != s.opened.Load() {
		t.Errorf("%d handshakes succeeded, OnOpen was called %d times", good, s.opened.Load())
	}
	return inTime
}
