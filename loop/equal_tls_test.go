package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// What a TLSConn does that is easier to say in words than by a script: two jobs
// at one connection, half-closed connections, requests that come together.

// tlsEnds calls f with both ends of a connection of each version of TLS, used by
// loops and by goroutines as kinds say.
func tlsEnds(t *testing.T, all []kinds, f func(t *testing.T, ends [2]*end)) {
	for _, version := range []family{familyTLS12, familyTLS13} {
		for _, k := range all {
			for _, oneLoop := range []bool{false, true} {
				if oneLoop && k != (kinds{true, true}) {
					continue
				}
				name := version.String() + " " + k.String()
				if oneLoop {
					name += ", one loop"
				}
				t.Run(name, func(t *testing.T) {
					p := newPlaygrounds(t, version, 1)[0]
					ends, err := p.connect(script{family: version, oneLoop: oneLoop}, k)
					defer p.release(ends)
					if err != nil {
						t.Fatal(err)
					}
					f(t, ends)
				})
			}
		}
	}
}

// wantDone fails the test unless an operation ends with n bytes and an error that
// matches want, if that is not nil.
func wantDone(t *testing.T, what string, s *started, n int, want error) {
	t.Helper()
	if o := s.wait(); o.n != n || !errors.Is(o.err, want) {
		t.Fatalf("%s: %d bytes, error %v, want %d and %v", what, o.n, o.err, n, want)
	}
}

// step begins a step of a script.
func (e *end) step(op scriptOp, n int) *started {
	return e.begin(func() (int, error) { return e.do(step{op: op, n: n}) })
}

// One job may read, and one may write: a second one gets ErrInUse, and the first
// is not disturbed.
func TestTLSConnInUse(t *testing.T) {
	tlsEnds(t, []kinds{{true, false}}, func(t *testing.T, ends [2]*end) {
		e, peer := ends[0], ends[1]
		reader := e.step(opReadWait, scriptRead)
		e.settle(reader, false)
		wantDone(t, "second reader", e.step(opReadOnce, scriptRead), 0, loop.ErrInUse)

		const most = 8 << 20
		writer := e.begin(func() (int, error) { return e.c.Write(make([]byte, most)) })
		e.settle(writer, true)
		wantDone(t, "second writer", e.begin(func() (int, error) { return e.c.Write([]byte("x")) }), 0, loop.ErrInUse)
		wantDone(t, "CloseWrite beside a writer", e.step(opCloseWrite, 0), 0, loop.ErrInUse)

		wantDone(t, "peer's write", peer.step(opWrite, 5), 5, nil)
		wantDone(t, "reader", reader, 5, nil)
		wantDone(t, "peer's read", peer.begin(func() (int, error) {
			n, err := io.CopyN(io.Discard, peer.c, most)
			return int(n), err
		}), most, nil)
		wantDone(t, "writer", writer, most, nil)
		wantDone(t, "write afterwards", e.step(opWrite, 7), 7, nil)
	})
}

// At each end, one job reads while another writes, more than any buffer takes.
func TestTLSConnBothWaysAtOnce(t *testing.T) {
	tlsEnds(t, []kinds{{true, false}, {false, true}, {true, true}}, func(t *testing.T, ends [2]*end) {
		const writes, all = 8, 8 * scriptBig
		var readers, writers [2]*started
		for i, e := range ends {
			writers[i] = e.begin(func() (done int, err error) {
				for range writes {
					n, err := e.do(step{op: opWrite, n: scriptBig})
					if done += n; err != nil {
						return done, err
					}
				}
				return done, e.c.CloseWrite()
			})
			readers[i] = e.step(opDrain, 0)
		}
		for i := range ends {
			wantDone(t, "writer", writers[i], all, nil)
			wantDone(t, "reader", readers[i], all, io.EOF)
		}
	})
}

// CloseWrite ends one direction, and then the other. What comes from a peer that
// has said that it sends no more is the end, and it still gets what is written.
func TestTLSConnHalfClose(t *testing.T) {
	tlsEnds(t, []kinds{{true, false}, {false, true}, {true, true}}, func(t *testing.T, ends [2]*end) {
		for i, e := range ends {
			peer := ends[1-i]
			wantDone(t, "write", e.step(opWrite, 1000), 1000, nil)
			wantDone(t, "CloseWrite", e.step(opCloseWrite, 0), 0, nil)
			wantDone(t, "peer's read", peer.step(opDrain, 0), 1000, io.EOF)
			wantDone(t, "peer's second read", peer.step(opReadOnce, 1), 0, io.EOF)
			o := e.step(opWrite, 1).wait()
			if o.n != 0 || o.err == nil || o.err.Error() != "tls: protocol is shutdown" {
				t.Fatalf("write after CloseWrite: %d bytes, error %v", o.n, o.err)
			}
		}
		for _, e := range ends {
			wantDone(t, "Close", e.step(opClose, 0), 0, nil)
		}
	})
}

// gather keeps what is written to it until it is told to send that at once.
type gather struct {
	net.Conn
	kept []byte
	keep bool
}

func (g *gather) Write(p []byte) (int, error) {
	if !g.keep {
		return g.Conn.Write(p)
	}
	g.kept = append(g.kept, p...)
	return len(p), nil
}

func (g *gather) flush() error {
	g.SetWriteDeadline(time.Now().Add(testkit.Patience)) // CloseWrite leaves one that has passed
	_, err := g.Conn.Write(g.kept)
	g.kept, g.keep = nil, false
	return err
}

// Requests that come in one record, or in one segment, are all answered by a
// handler that serves one at a time, and parks the connection after each.
func TestTLSRequestsTogether(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, write := range map[string]func(c *tls.Conn, g *gather) error{
			"one record": func(c *tls.Conn, _ *gather) error {
				_, err := io.WriteString(c, "onetwothr")
				return err
			},
			"one segment": func(c *tls.Conn, g *gather) error {
				g.keep = true
				for _, s := range []string{"one", "two", "thr"} {
					if _, err := io.WriteString(c, s); err != nil {
						return err
					}
				}
				return g.flush()
			},
			"records that are not requests": func(c *tls.Conn, g *gather) error {
				g.keep = true
				for _, s := range []string{"on", "etw", "othr"} {
					if _, err := io.WriteString(c, s); err != nil {
						return err
					}
				}
				return g.flush()
			},
			"with the end behind": func(c *tls.Conn, g *gather) error {
				g.keep = true
				if _, err := io.WriteString(c, "onetwothr"); err != nil {
					return err
				}
				return errors.Join(c.CloseWrite(), g.flush())
			},
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				l := looptest.New(t, loop.Config{})
				calls := 0
				addr := looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(_ context.Context, c *loop.TLSConn) error {
					calls++
					request := make([]byte, 3)
					if _, err := io.ReadFull(c, request); err != nil {
						return err
					}
					if _, err := c.Write(request); err != nil {
						return err
					}
					return c.Park(nil)
				}})
				cfg := clientConfig()
				cfg.MinVersion, cfg.MaxVersion = version, version
				g := &gather{Conn: testkit.Dial(t, addr)}
				c := tls.Client(g, cfg)
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				if err := write(c, g); err != nil {
					t.Fatal(err)
				}
				testkit.WantRead(t, c, "onetwothr")
				looptest.Call(t, l, func() {
					if calls < 3 {
						t.Errorf("the handler was called %d times, want one for each request", calls)
					}
				})
				c.Close()
				parked(t, l, 0)
			})
		}
	}
}
