package loop_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/internal/testkit/tlspeer"
	"github.com/jobloop/jobloop/loop"
)

// A connection that is closed in the middle of a Write ends without close_notify:
// the peer must not take a part for the whole. What the server's TLS has made of
// that Write arrives all the same, and soon.
func TestTLSClosedInMidWrite(t *testing.T) {
	for name, h := range map[string]func(s session, writing chan bool) error{
		"by another job": func(s session, writing chan bool) error {
			wrote := make(chan error, 1)
			s.beside(func() {
				writing <- true
				_, err := s.Write(make([]byte, 4<<20))
				wrote <- err
			})
			s.Read(make([]byte, 1))
			s.Close()
			done := make(chan struct{})
			var err error
			go func() { err = <-wrote; close(done) }()
			s.wait(done)
			return err
		},
		"after its deadline": func(s session, writing chan bool) error {
			s.SetWriteDeadline(time.Now().Add(time.Millisecond))
			_, err := s.Write(make([]byte, 4<<20))
			writing <- true
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := loopKind(looptest.New(t, loop.Config{}))
			writing, wrote := make(chan bool, 1), make(chan error, 1)
			p := connectTLS(t, k.serve(t, func(s session) { wrote <- h(s, writing) }))
			p.Raw.SetDeadline(time.Now().Add(testkit.Patience / 2))
			testkit.Receive(t, writing)
			asleep(t, k.loop)
			if name == "by another job" {
				if err := p.Send(p.Data([]byte("x"))); err != nil {
					t.Fatal(err)
				}
			}
			err := testkit.Receive(t, wrote)
			n, end := io.Copy(io.Discard, p)
			if err == nil || !errors.Is(end, io.ErrUnexpectedEOF) {
				t.Errorf("the server's error %v; the peer read %d bytes, then %v, want %v", err, n, end, io.ErrUnexpectedEOF)
			}
		})
	}
}

// A handler that parks a connection whose TLS has ended is not called for ever.
func TestTLSParkedAfterItsEnd(t *testing.T) {
	for name, records := range map[string]func(p *tlspeer.Peer) []byte{
		"close_notify": (*tlspeer.Peer).CloseNotify,
		"fatal alert":  func(p *tlspeer.Peer) []byte { return p.FatalAlert(tlspeer.AlertInternalError) },
		"bad record":   func(*tlspeer.Peer) []byte { return tlspeer.Garbage() },
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			p := connectTLS(t, looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
				io.Copy(io.Discard, c)
				return c.Park(nil)
			}}))
			before := looptest.Settle(t, l).JobsStarted
			if err := p.Send(records(p)); err != nil {
				t.Fatal(err)
			}
			parked(t, l, 0)
			if n := looptest.Settle(t, l).JobsStarted - before; n > 2 {
				t.Errorf("%d jobs for one end", n)
			}
		})
	}
}

// A reader that tries again whenever it has waited too long for the peer to take
// its answers does not keep the writer from its own timeout.
func TestTLSWriterTimesOutBesideReader(t *testing.T) {
	l := looptest.New(t, loop.Config{WriteTimeout: 50 * time.Millisecond})
	wrote := make(chan error, 1)
	p := connectTLS(t, loopKind(l).serve(t, func(s session) {
		done := make(chan struct{})
		s.beside(func() {
			defer close(done)
			_, err := s.Write(make([]byte, 16<<20))
			wrote <- err
		})
		buf := make([]byte, 100)
		for {
			if _, err := s.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		s.wait(done)
	}))
	sent := make(chan bool)
	go func() {
		for p.Send(join(p.KeyUpdate(true), p.Data([]byte("x")))) == nil {
		}
		close(sent)
	}()
	if err := testkit.Receive(t, wrote); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	p.Raw.Close()
	testkit.Receive(t, sent)
}
