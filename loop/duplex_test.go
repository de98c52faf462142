package loop_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/internal/testkit/tlspeer"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A writer that pauses because the peer does not read must not keep the reader
// from anything, nor the loop, whatever the reader meets: crypto/tls wants the
// writer's lock to answer a KeyUpdate and to send an alert.
func TestTLSDuplexReaderWhileWriterWaits(t *testing.T) {
	const pieces, piece = 32, 128 << 10
	for _, tt := range []struct {
		name string
		does func(p *tlspeer.Peer) error
		want string // what the reader gets
		// What the peer reads in the end, and whether that is after all that the
		// server has to write.
		end error
		all bool
	}{
		{
			"bad record",
			func(p *tlspeer.Peer) error { return p.Send(tlspeer.Garbage()) },
			`"" local error: tls: bad record MAC`, tlspeer.AlertError(tlspeer.AlertBadRecordMAC), false,
		}, {
			"KeyUpdate",
			func(p *tlspeer.Peer) error { return p.Send(append(p.KeyUpdate(true), p.Data([]byte("x"))...)) },
			`"x" none`, io.EOF, true,
		}, {
			"too many KeyUpdates",
			func(p *tlspeer.Peer) error { return p.Send(p.KeyUpdates(17, true)) },
			`"" tls: too many non-advancing records`, tlspeer.AlertError(tlspeer.AlertUnexpectedMessage), false,
		}, {
			"close_notify",
			func(p *tlspeer.Peer) error { return p.Send(p.CloseNotify()) },
			`"" EOF`, io.EOF, true,
		}, {
			"fatal alert",
			func(p *tlspeer.Peer) error { return p.Send(p.FatalAlert(tlspeer.AlertInternalError)) },
			`"" remote error: tls: internal error`, io.EOF, true,
		}, {
			"half-close",
			func(p *tlspeer.Peer) error { return p.Raw.CloseWrite() },
			`"" EOF`, io.EOF, true,
		}, {
			"half-close in a record",
			func(p *tlspeer.Peer) error {
				return errors.Join(p.Send(p.Data([]byte("x"))[:10]), p.Raw.CloseWrite())
			},
			`"" unexpected EOF`, io.EOF, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writers := map[string]string{}
			bothKinds(t, loop.Config{}, func(t *testing.T, k tlsKind) {
				writing, read, wrote := make(chan bool, 1), make(chan string, 1), make(chan string, 1)
				p := connectTLS(t, k.serve(t, func(s session) {
					done := make(chan struct{})
					s.beside(func() {
						defer close(done)
						b := make([]byte, piece)
						writing <- true
						for i := range pieces {
							fillPattern(b, int64(i)*piece)
							if _, err := s.Write(b); err != nil {
								wrote <- class(err)
								return
							}
						}
						wrote <- "none"
					})
					b := make([]byte, 100)
					n, err := s.Read(b)
					read <- fmt.Sprintf("%q %s", b[:n], class(err))
					s.wait(done)
				}))
				testkit.Receive(t, writing)
				if k.loop != nil {
					asleep(t, k.loop) // the writer has filled what there is between it and the peer
				}
				if err := tt.does(p); err != nil {
					t.Fatal(err)
				}
				if k.loop != nil {
					// A reader on a goroutine waits until the peer reads, or for ever.
					if got := testkit.Receive(t, read); got != tt.want {
						t.Errorf("the reader got %s, want %s", got, tt.want)
					}
					// The writer waits, or has found some room meanwhile and knows.
				}
				n, err := readPattern(t, p)
				if !errors.Is(err, tt.end) || tt.all != (n == pieces*piece) {
					t.Errorf("the peer read %d bytes of %d, then %v; want the end to be %v", n, pieces*piece, err, tt.end)
				}
				p.ExpectClosed(t)
				if k.loop == nil {
					if got := testkit.Receive(t, read); got != tt.want {
						t.Errorf("the reader got %s, want %s", got, tt.want)
					}
				}
				writers[k.name] = testkit.Receive(t, wrote)
			})
			if writers["loop"] != writers["goroutines"] {
				t.Errorf("the writers ended with %v, want the same", writers)
			}
		})
	}
}

// A reset ends both at once.
func TestTLSDuplexReset(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	writing, ends := make(chan bool, 1), make(chan string, 2)
	p := connectTLS(t, loopKind(l).serve(t, func(s session) {
		done := make(chan struct{})
		s.beside(func() {
			defer close(done)
			writing <- true
			_, err := s.Write(make([]byte, 16<<20))
			ends <- class(err)
		})
		_, err := s.Read(make([]byte, 100))
		ends <- class(err)
		s.wait(done)
	}))
	testkit.Receive(t, writing)
	asleep(t, l)
	testkit.Reset(p.Raw)
	var got []string
	for range 2 {
		got = append(got, testkit.Receive(t, ends))
	}
	// One of them is told of it, and then a reader gets the end.
	if s := strings.Join(got, ", "); s != "reset, reset" && s != "EOF, reset" && s != "reset, EOF" {
		t.Errorf("reader and writer ended with %s", s)
	}
}

// asleep waits until l has nothing to do, and nothing comes any more: what a writer
// has written may take the kernel some time to move on, which makes room for more.
func asleep(t testing.TB, l *loop.Loop) {
	t.Helper()
	const quiet = 10
	for n := 0; n < quiet; n++ {
		events := looptest.Settle(t, l).Events
		slept := make(chan bool)
		looptest.Call(t, l, func() {
			var stop func()
			stop = l.BeforeSleep(func() { stop(); close(slept) })
		})
		testkit.Receive(t, slept)
		if looptest.Settle(t, l).Events != events {
			n = 0
		}
	}
}

// A writer that never stops does not keep the reader from reading, though both
// want the same side of the connection: what crypto/tls answers goes out behind
// what the writer has written.
func TestTLSDuplexReaderBesideEndlessWriter(t *testing.T) {
	const asked = 1000
	bothKinds(t, loop.Config{}, func(t *testing.T, k tlsKind) {
		var seen atomic.Int64
		p := connectTLS(t, k.serve(t, func(s session) {
			done := make(chan struct{})
			var stop atomic.Bool
			s.beside(func() {
				defer close(done)
				b := make([]byte, 64<<10)
				for off := int64(0); !stop.Load(); off += int64(len(b)) {
					fillPattern(b, off)
					if _, err := s.Write(b); err != nil {
						t.Errorf("Write: %v", err)
						return
					}
				}
			})
			buf := make([]byte, 100)
			for {
				n, err := s.Read(buf)
				seen.Add(int64(n))
				if err != nil {
					if err != io.EOF {
						t.Errorf("Read after %d bytes: %v", seen.Load(), err)
					}
					break
				}
			}
			stop.Store(true)
			s.wait(done)
		}))
		sent := make(chan error, 1)
		go func() {
			for range asked {
				if err := p.Send(append(p.KeyUpdate(true), p.Data([]byte("x"))...)); err != nil {
					sent <- err
					return
				}
			}
			sent <- p.Send(p.CloseNotify())
		}()
		n, err := readPattern(t, p)
		if err != io.EOF || p.Updates != asked || seen.Load() != asked {
			t.Errorf("the peer read %d bytes, then %v; the server has seen %d bytes, answered %d KeyUpdates; want %d",
				n, err, seen.Load(), p.Updates, asked)
		}
		if err := testkit.Receive(t, sent); err != nil {
			t.Error(err)
		}
	})
}

// A peer that asks for KeyUpdates without end, and takes none of them, is not read
// from for long: what is kept for it is bounded. When it reads, it gets them all.
func TestTLSKeyUpdateFlood(t *testing.T) {
	asked := 100_000
	if testkit.RaceEnabled || testing.Short() {
		asked = 20_000
	}
	// The kernel keeps some of the answers, of 27 bytes each, in both its buffers.
	const most = 8 * smallBuffer / 27
	bothKinds(t, loop.Config{}, func(t *testing.T, k tlsKind) {
		var seen atomic.Int64
		p := connectTLS(t, k.serve(t, func(s session) {
			buf := make([]byte, 4<<10)
			for {
				n, err := s.Read(buf)
				if err != nil {
					t.Errorf("Read after %d bytes: %v", seen.Load(), err)
					return
				}
				seen.Add(int64(n))
				if buf[n-1] == '!' {
					io.WriteString(s, "all answered")
					return
				}
			}
		}))
		sent := make(chan error, 1)
		var sending atomic.Int64
		go func() {
			for range asked {
				if err := p.Send(append(p.KeyUpdate(true), p.Data([]byte("x"))...)); err != nil {
					sent <- err
					return
				}
				sending.Add(1)
			}
			sent <- p.Send(p.Data([]byte("!")))
		}()
		stuck(t, &sending)
		if k.loop != nil {
			looptest.Settle(t, k.loop) // it turns
		}
		n := seen.Load()
		if n == 0 || n > most {
			t.Errorf("%d KeyUpdates were read while none of the answers was, want at most %d", n, most)
		}
		t.Logf("%d read, %d sent, when the peer had not read", n, sending.Load())
		testkit.WantRead(t, p, "all answered")
		expectEOF(t, p)
		if p.Updates != asked || seen.Load() != int64(asked)+1 {
			t.Errorf("%d answers, %d bytes seen; want %d", p.Updates, seen.Load(), asked)
		}
		p.ExpectClosed(t)
		if err := testkit.Receive(t, sent); err != nil {
			t.Error(err)
		}
	})
}

// stuck waits until n, which somebody counts up, stays as it is.
func stuck(t testing.TB, n *atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	testkit.Eventually(t, "a sender that gets stuck", func() bool {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
		// Too short a time does no harm: the sender would only seem to be stuck
		// earlier than it is.
		return last > 0 && time.Since(since) > 50*time.Millisecond
	})
}

// What a peer does at random moments ends in the same way for a reader job as for
// a reader on a goroutine, and for the peer.
func TestTLSEndsAsOnGoroutine(t *testing.T) {
	one := []byte("x")
	for name, records := range map[string]func(p *tlspeer.Peer) []byte{
		"close_notify":             func(p *tlspeer.Peer) []byte { return p.CloseNotify() },
		"data, close_notify, data": func(p *tlspeer.Peer) []byte { return join(p.Data(one), p.CloseNotify(), p.Data(one)) },
		"no close_notify":          func(p *tlspeer.Peer) []byte { return p.Data(one) },
		"end in a header":          func(p *tlspeer.Peer) []byte { return p.Data(one)[:3] },
		"end in a record":          func(p *tlspeer.Peer) []byte { return p.Data(one)[:10] },
		"fatal alert": func(p *tlspeer.Peer) []byte {
			return join(p.Data(one), p.FatalAlert(tlspeer.AlertInternalError), p.Data(one))
		},
		"user_canceled": func(p *tlspeer.Peer) []byte { return join(p.FatalAlert(tlspeer.AlertUserCanceled), p.Data(one)) },
		"half an alert": func(p *tlspeer.Peer) []byte { return p.Seal(tlspeer.RecordAlert, []byte{2}) },
		"alert in the clear": func(p *tlspeer.Peer) []byte {
			return append(tlspeer.RecordHead(tlspeer.RecordAlert, 2), 2, tlspeer.AlertInternalError)
		},
		"bad record":                func(p *tlspeer.Peer) []byte { return join(p.Data(one), tlspeer.Garbage(), p.Data(one)) },
		"empty garbage":             func(p *tlspeer.Peer) []byte { return tlspeer.RecordHead(tlspeer.RecordData, 0) },
		"a record again":            func(p *tlspeer.Peer) []byte { b := p.Data(one); return join(b, b) },
		"a record left out":         func(p *tlspeer.Peer) []byte { p.Data(one); return p.Data(one) },
		"too long a record":         func(p *tlspeer.Peer) []byte { return tlspeer.RecordHead(tlspeer.RecordData, 1<<14+300) },
		"too much in a record":      func(p *tlspeer.Peer) []byte { return p.Seal(tlspeer.RecordData, make([]byte, 1<<14+1)) },
		"another version":           func(p *tlspeer.Peer) []byte { return []byte{tlspeer.RecordData, 3, 4, 0, 40} },
		"no TLS":                    func(p *tlspeer.Peer) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") },
		"empty data":                func(p *tlspeer.Peer) []byte { return join(p.Data(nil), p.Data(nil), p.Data(one)) },
		"17 times empty data":       func(p *tlspeer.Peer) []byte { return repeat(17, func() []byte { return p.Data(nil) }) },
		"change_cipher_spec":        func(p *tlspeer.Peer) []byte { return join(changeCipherSpec(), p.Data(one)) },
		"17 change_cipher_spec":     func(p *tlspeer.Peer) []byte { return repeat(17, changeCipherSpec) },
		"KeyUpdate":                 func(p *tlspeer.Peer) []byte { return join(p.KeyUpdate(false), p.Data(one)) },
		"KeyUpdate, to be answered": func(p *tlspeer.Peer) []byte { return join(p.KeyUpdate(true), p.Data(one), p.CloseNotify()) },
		"16 KeyUpdates": func(p *tlspeer.Peer) []byte {
			return join(p.KeyUpdates(16, true), p.Data(one), p.KeyUpdates(16, false))
		},
		"17 KeyUpdates":                 func(p *tlspeer.Peer) []byte { return join(p.Data(one), p.KeyUpdates(17, false)) },
		"17 KeyUpdates, to be answered": func(p *tlspeer.Peer) []byte { return join(p.KeyUpdates(17, true), p.Data(one)) },
		"old key after KeyUpdate": func(p *tlspeer.Peer) []byte {
			return join(p.Seal(tlspeer.RecordHandshake, []byte{tlspeer.MessageKeyUpdate, 0, 0, 1, 1}), p.Data(one))
		},
		"KeyUpdate that is none": func(p *tlspeer.Peer) []byte {
			return p.Seal(tlspeer.RecordHandshake, []byte{tlspeer.MessageKeyUpdate, 0, 0, 1, 2})
		},
		"data inside a handshake message": func(p *tlspeer.Peer) []byte {
			return join(p.Seal(tlspeer.RecordHandshake, []byte{tlspeer.MessageKeyUpdate, 0}), p.Data(one))
		},
		"KeyUpdate in two records":           func(p *tlspeer.Peer) []byte { return join(p.SplitKeyUpdate(), p.Data(one)) },
		"another handshake message":          func(p *tlspeer.Peer) []byte { return p.Seal(tlspeer.RecordHandshake, []byte{1, 0, 0, 0}) },
		"unknown type of record":             func(p *tlspeer.Peer) []byte { return p.Seal(99, one) },
		"a type, and then nothing but zeros": func(p *tlspeer.Peer) []byte { return p.Seal(0, make([]byte, 20)) },
	} {
		t.Run(name, func(t *testing.T) {
			ends := map[string]string{}
			bothKinds(t, loop.Config{}, func(t *testing.T, k tlsKind) {
				server := make(chan string, 1)
				p := connectTLS(t, k.serve(t, func(s session) {
					got, err := io.ReadAll(s)
					end := fmt.Sprintf("the server read %q, error %s", got, class(err))
					_, err = io.WriteString(s, "goodbye")
					end += fmt.Sprintf("; wrote, error %s", class(err))
					err = s.CloseWrite()
					server <- end + fmt.Sprintf("; ended, error %s", class(err))
				}))
				if err := p.Send(records(p)); err != nil {
					t.Fatal(err)
				}
				if err := p.Raw.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(p)
				ends[k.name] = fmt.Sprintf("%s; the peer read %q, %d KeyUpdates, error %v", testkit.Receive(t, server), got, p.Updates, err)
			})
			if ends["loop"] != ends["goroutines"] {
				t.Errorf("on the loop:       %s\non goroutines: %s", ends["loop"], ends["goroutines"])
			}
			t.Log(ends["goroutines"])
		})
	}
}

func join(records ...[]byte) []byte { return bytes.Join(records, nil) }

func repeat(n int, record func() []byte) (records []byte) {
	for range n {
		records = append(records, record()...)
	}
	return records
}

func changeCipherSpec() []byte { return append(tlspeer.RecordHead(tlspeer.RecordCCS, 1), 1) }

var (
	duplexDuration = flag.Duration("duplex.duration", 0, "how long TestTLSDuplexSoak lasts (0: 2s, with the race detector 1s)")
	duplexSeed     = flag.Uint64("duplex.seed", 0, "what TestTLSDuplexSoak chooses its peers by (0: anything)")
)

// Two jobs on each of many TLS connections, with peers that do at random what the
// other tests have them do in order. The loop turns all the while, what arrives is
// right, and nothing is left.
func TestTLSDuplexSoak(t *testing.T) {
	duration, peers := *duplexDuration, 32
	if testkit.RaceEnabled {
		peers = 16
	}
	switch {
	case duration > 0:
	case testkit.RaceEnabled:
		duration = time.Second
	default:
		duration = 2 * time.Second
	}
	seed := *duplexSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-duplex.seed=%d", seed)
	l := looptest.New(t, loop.Config{
		IdleTimeout: soakTimeout, WriteTimeout: soakTimeout, LingerTimeout: soakTimeout / 4,
		BlockedAfter: testkit.Patience / 4, // on a busy machine a second is not long
	})
	s := &duplexSoak{t: t, l: l, ends: map[string]int{}, served: map[string]*duplexVisit{}}
	s.addr = looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: s.handle})
	until := time.Now().Add(duration)
	var clients sync.WaitGroup
	var next atomic.Uint64
	for range peers {
		clients.Go(func() {
			for !t.Failed() && time.Now().Before(until) {
				s.visit(rand.New(rand.NewPCG(seed, next.Add(1))))
			}
		})
	}
	done := make(chan bool)
	go func() { clients.Wait(); close(done) }()
	longest := longestPause(t, l)
	var slowest time.Duration // answer of the loop to another goroutine
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
		}
		asked := time.Now()
		looptest.Call(t, l, func() {})
		slowest = max(slowest, time.Since(asked))
		if asked.Sub(until) > 2*testkit.Patience {
			t.Fatal("peers that do not end")
		}
	}
	pause := longest()
	testkit.Eventually(t, "no connection and no job is left", func() bool {
		s := looptest.Settle(t, l)
		return s.Conns == 0 && s.Lingering == 0 && s.JobsPaused == 0 && s.JobsQueued == 0 && s.JobsStarted == s.JobsFinished
	})
	t.Logf("the longest turn: a timer of 1ms was called after %v, what another goroutine asked for after %v", pause, slowest)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range slices.Sorted(maps.Keys(s.ends)) {
		t.Logf("%6d %s", s.ends[end], end)
	}
	if s.whole == 0 {
		t.Error("no peer got everything")
	}
	t.Logf("%d visits, %d that got everything; %d MB to the server, %d MB to the peers, %d KeyUpdates answered; %+v",
		next.Load(), s.whole, s.up>>20, s.down>>20, s.updates, l.Stats())
}

const soakTimeout = time.Second

// longestPause measures the time between two turns of the loop, with a sleep of a
// millisecond in it, until the function that it returns is called.
func longestPause(t testing.TB, l *loop.Loop) (stop func() time.Duration) {
	var pause time.Duration
	stopped := false
	looptest.Call(t, l, func() {
		last := time.Now()
		var tick func()
		tick = func() {
			now := time.Now()
			pause, last = max(pause, now.Sub(last)), now
			if !stopped {
				l.AfterFunc(time.Millisecond, tick)
			}
		}
		tick()
	})
	return func() (longest time.Duration) {
		looptest.Call(t, l, func() { stopped, longest = true, pause })
		return longest
	}
}

// duplexSoak is what the connections of the soak have in common.
type duplexSoak struct {
	t    *testing.T
	l    *loop.Loop
	addr net.Addr

	mu       sync.Mutex
	served   map[string]*duplexVisit // by the address of the peer
	ends     map[string]int
	whole    int
	up, down int64
	updates  int
}

// duplexVisit is one connection. What its peer will do is chosen by r, before and
// while it does it.
type duplexVisit struct {
	s    *duplexSoak
	p    *tlspeer.Peer
	r    *rand.Rand
	key  string
	push bool // the server writes without end; else it writes back what it reads
	// The server's handler returns when its reader has an error, with the writer
	// in the middle of something.
	hasty    bool
	bufSize  int
	late     atomic.Bool // the server has waited too long for something
	stalled  bool
	reading  chan bool // has a token while the peer reads
	sent     int64     // application data
	requests int       // of KeyUpdates
}

// handle serves a connection with two jobs.
func (s *duplexSoak) handle(ctx context.Context, c *loop.TLSConn) error {
	s.mu.Lock()
	v := s.served[c.RemoteAddr().String()]
	s.mu.Unlock()
	if v == nil {
		return errors.New("nobody's connection")
	}
	var d duplexJobs
	if err := s.l.Go(func(ctx context.Context) error { return d.write(ctx, v, c) }); err != nil {
		return err
	}
	buf := make([]byte, v.bufSize)
	for {
		n, err := c.Read(buf)
		if !isPattern(buf[:n], d.read) {
			s.t.Errorf("the server read something else than was sent, at %d", d.read)
		}
		d.read += int64(n)
		if err != nil {
			d.ended = err
		}
		d.wakeWriter()
		if err != nil {
			v.note(err)
			break
		}
	}
	if v.hasty {
		return d.ended
	}
	return loop.Await(ctx, func(done func()) {
		if d.written {
			done()
		}
		d.whenWritten = done
	})
}

// duplexJobs is what the reader and the writer of a connection share: both are
// jobs of one loop, and need no lock.
type duplexJobs struct {
	read, wrote int64
	ended       error // the reader's
	written     bool  // the writer has ended
	whenWritten func()
	wake        callback
}

func (d *duplexJobs) wakeWriter() {
	if d.wake != nil {
		d.wake()
	}
}

func (d *duplexJobs) write(ctx context.Context, v *duplexVisit, c *loop.TLSConn) (err error) {
	defer func() {
		v.note(err)
		d.written = true
		if d.whenWritten != nil {
			d.whenWritten()
		}
	}()
	j, _ := jobs.FromContext(ctx)
	buf := make([]byte, 96<<10) // more than is sealed at a time
	for {
		n := len(buf)
		if !v.push {
			if d.wake, err = takeCallback(j); err != nil {
				return err
			}
			if err := await(j, func() bool { return d.wrote < d.read || d.ended != nil }); err != nil {
				return err
			}
			n = int(min(int64(n), d.read-d.wrote))
		}
		if v.push && d.ended != nil || n == 0 {
			break
		}
		fillPattern(buf[:n], d.wrote)
		m, err := c.Write(buf[:n])
		d.wrote += int64(m)
		if err != nil {
			return err
		}
	}
	if d.ended != io.EOF {
		return nil
	}
	return c.CloseWrite()
}

// note keeps whether the server was not served in time: then the peer need not get
// everything.
func (v *duplexVisit) note(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		v.late.Store(true)
	}
}

// visit is one connection, from the peer's side.
func (s *duplexSoak) visit(r *rand.Rand) {
	raw, err := net.Dial(s.addr.Network(), s.addr.String())
	if err != nil {
		s.t.Error(err)
		return
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(testkit.Patience))
	v := &duplexVisit{s: s, r: r, push: r.IntN(3) == 0, hasty: r.IntN(4) == 0, bufSize: 1 + r.IntN(20_000), key: raw.LocalAddr().String(), reading: make(chan bool, 1)}
	v.reading <- true
	if r.IntN(2) == 0 { // the server soon has to wait
		raw.(*net.TCPConn).SetReadBuffer(smallBuffer)
	}
	s.mu.Lock()
	s.served[v.key] = v
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.served, v.key)
		s.mu.Unlock()
	}()
	if v.p, err = tlspeer.New(raw, clientConfig()); err != nil {
		if errors.Is(err, tlspeer.ErrSuite) {
			s.t.Log(err)
		}
		s.t.Errorf("handshake: %v", err)
		return
	}
	type result struct {
		n   int64
		err error
	}
	read := make(chan result, 1)
	go func() {
		n, err := v.readAll()
		read <- result{n, err}
	}()
	for range r.IntN(20) {
		if v.step() != nil {
			break // the server has ended the connection: it was late
		}
	}
	end, whole := v.end()
	got := <-read
	switch {
	case !whole || v.late.Load():
		whole = false
	case got.err != io.EOF || !v.push && got.n != v.sent || v.p.Updates != v.requests:
		s.t.Errorf("%s (push %t): the peer got %d bytes of %d, %d KeyUpdates of %d, then %v",
			end, v.push, got.n, v.sent, v.p.Updates, v.requests, got.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.late.Load() {
		end += ", late"
	}
	s.ends[end]++
	if whole {
		s.whole++
	}
	s.up, s.down, s.updates = s.up+v.sent, s.down+got.n, s.updates+v.p.Updates
}

// readAll reads all that comes while the peer is not stalled.
func (v *duplexVisit) readAll() (n int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		v.reading <- <-v.reading
		m, err := v.p.Read(buf)
		if !isPattern(buf[:m], n) {
			v.s.t.Errorf("the peer read something else than was written, at %d", n)
		}
		if n += int64(m); err != nil {
			return n, err
		}
	}
}

// stall stops and lets go the reader.
func (v *duplexVisit) stall(on bool) {
	if on && !v.stalled {
		<-v.reading
	} else if !on && v.stalled {
		v.reading <- true
	}
	v.stalled = on
}

// some returns records with the next n bytes of application data.
func (v *duplexVisit) some(n int) []byte {
	b := make([]byte, n)
	fillPattern(b, v.sent)
	v.sent += int64(n)
	return v.p.Data(b)
}

func (v *duplexVisit) keyUpdate() []byte {
	request := v.r.IntN(3) > 0
	if request {
		v.requests++
	}
	return v.p.KeyUpdate(request)
}

// step does something that leaves the connection as it is. It ends with data:
// crypto/tls bears no more than 16 records that bring none.
func (v *duplexVisit) step() error {
	p, r := v.p, v.r
	switch r.IntN(9) {
	case 0, 1:
		return p.Send(v.some(1 + r.IntN(100_000)))
	case 2:
		return p.Send(join(v.keyUpdate(), v.some(1)))
	case 3: // as many as crypto/tls takes, and more answers than it may keep
		for range 20 {
			var records []byte
			for range 1 + r.IntN(16) {
				records = append(records, v.keyUpdate()...)
			}
			if err := p.Send(append(records, v.some(1)...)); err != nil {
				return err
			}
		}
	case 4: // in single bytes
		for _, b := range join(v.some(1), v.keyUpdate(), v.some(2)) {
			if err := p.Send([]byte{b}); err != nil {
				return err
			}
		}
	case 5: // in two parts
		b := v.some(1 + r.IntN(20_000))
		cut := r.IntN(len(b))
		if err := p.Send(b[:cut]); err != nil {
			return err
		}
		v.rest(10)
		return p.Send(b[cut:])
	case 6:
		return p.Send(join(changeCipherSpec(), p.Data(nil), p.FatalAlert(tlspeer.AlertUserCanceled), v.some(1)))
	case 7:
		v.stall(!v.stalled)
	case 8:
		v.rest(20)
	}
	return nil
}

func (v *duplexVisit) rest(ms int) { time.Sleep(time.Duration(v.r.IntN(ms)) * time.Millisecond) }

// end ends the connection, in a way that is named, and reports whether the peer
// must have got everything.
func (v *duplexVisit) end() (name string, whole bool) {
	p, r := v.p, v.r
	waits := r.IntN(4) > 0 // and reads what the server has to say
	defer func() {
		if whole || waits {
			v.stall(false)
			return
		}
		if r.IntN(2) == 0 {
			p.Raw.SetLinger(0)
		}
		p.Raw.Close()
		v.stall(false)
	}()
	switch r.IntN(14) {
	case 0, 1:
		err := p.Send(p.CloseNotify())
		return "close_notify", err == nil && !v.hasty
	case 2, 3:
		err := errors.Join(p.Send(p.CloseNotify()), p.Raw.CloseWrite())
		return "close_notify and half-close", err == nil && !v.hasty
	case 4, 5:
		err := p.Raw.CloseWrite()
		return "half-close", err == nil && !v.hasty
	case 6:
		p.Send(v.some(100)[:r.IntN(100)])
		p.Raw.CloseWrite()
		return "half-close in a record", false
	case 7:
		p.Send(join(tlspeer.Garbage(), v.some(r.IntN(50_000))))
		return "bad record", false
	case 8:
		p.Send(join(p.FatalAlert(tlspeer.AlertInternalError), v.some(r.IntN(50_000))))
		return "fatal alert", false
	case 9:
		p.Send(p.KeyUpdates(17+r.IntN(1000), r.IntN(2) == 0))
		return "too many KeyUpdates", false
	case 10:
		p.Send(append(tlspeer.RecordHead(tlspeer.RecordData, 1<<14), make([]byte, r.IntN(1<<14))...))
		v.rest(50)
		return "part of a record", false
	case 11:
		v.stall(true)
		p.Send(v.some(1000))
		v.rest(2 * int(soakTimeout.Milliseconds()))
		return "stall", false
	case 12: // in the middle of whatever the server does
		v.stall(true)
		p.Raw.SetLinger(0)
		p.Raw.Close()
		return "reset", false
	default:
		waits = false
		return "gone", false
	}
}
