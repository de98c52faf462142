package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/tlspeer"
	"github.com/jobloop/jobloop/loop"
)

// What a client's first byte asks of its backend.
const (
	echoes = 'e' // sends back what it reads
	floods = 'f' // sends without end, and reads
	reads  = 'r'
	deaf   = 'd' // does not read, until the test tells it to leave
)

// hostile is a kind of client, or of backend.
type hostile struct {
	name    string
	backend byte
	// does sends without end, to the proxy, what sent counts.
	does   func(p *tlspeer.Peer, sent *atomic.Int64) error
	leaves who // at last
	// idles says that the proxy may see a silent client: the kernel of one that does not
	// read what little comes for it may stop its sending too, before any Write of the
	// proxy has to wait.
	idles bool
}

type who int

const (
	theClient who = iota
	theBackend
	nobody // the proxy ends the connection by itself
)

var hostiles = []hostile{
	{"client does not read, and sends KeyUpdates and data", floods, keyUpdatesAndData, theClient, false},
	{"client does not read the answers to its KeyUpdates", reads, keyUpdatesAndData, theClient, true},
	{"client does not read, and is silent", floods, nil, theClient, false},
	{"client sends KeyUpdates only", floods, keyUpdates(false), nobody, false},
	{"client sends KeyUpdates only, which ask for answers", floods, keyUpdates(true), nobody, false},
	{"client sends KeyUpdates only, to a silent backend", reads, keyUpdates(true), nobody, false},
	{"backend does not read, and the client leaves", deaf, data, theClient, false},
	{"backend does not read, and leaves", deaf, data, theBackend, false},
	{"backend does not read KeyUpdates and data", deaf, keyUpdatesAndData, theBackend, true},
}

// keyUpdatesAndData sends a byte after each KeyUpdate, because crypto/tls bears no more
// than 16 records that bring none.
func keyUpdatesAndData(p *tlspeer.Peer, sent *atomic.Int64) error {
	for {
		if err := p.Send(append(p.KeyUpdate(true), p.Data([]byte("x"))...)); err != nil {
			return err
		}
		sent.Add(1)
	}
}

func keyUpdates(request bool) func(p *tlspeer.Peer, sent *atomic.Int64) error {
	return func(p *tlspeer.Peer, sent *atomic.Int64) error {
		for {
			if err := p.Send(p.KeyUpdate(request)); err != nil {
				return err
			}
			sent.Add(1)
		}
	}
}

func data(p *tlspeer.Peer, sent *atomic.Int64) error {
	for b := make([]byte, 16<<10); ; {
		n, err := p.Write(b)
		if err != nil {
			return err
		}
		sent.Add(int64(n))
	}
}

// counts are bytes, but for what a client sends: see hostile.
type counts struct{ byClient, toBackend, byBackend int64 }

// siege is a proxy with many hostile clients.
type siege struct {
	*server
	byClient, toBackend, byBackend atomic.Int64
	leave                          chan bool // closed when deaf backends leave
	backends                       chan bool // has a value for each backend that has ended
}

func newSiege(t *testing.T, cfg loop.Config, idle time.Duration) *siege {
	s := &siege{leave: make(chan bool), backends: make(chan bool, 100)}
	s.server = startWith(t, cfg, idle, s.serve)
	return s
}

// serve is the backend.
func (s *siege) serve(c *net.TCPConn) {
	defer func() { s.backends <- true }()
	kind := make([]byte, 1)
	if _, err := io.ReadFull(c, kind); err != nil {
		return
	}
	if kind[0] == echoes {
		io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // without the kernel's pipes, which look like a leak
		return
	}
	small(c)
	switch kind[0] {
	case reads:
		io.Copy(counting{io.Discard, &s.toBackend}, c)
	case deaf:
		<-s.leave
	case floods:
		read := make(chan bool)
		go func() {
			defer close(read)
			io.Copy(counting{io.Discard, &s.toBackend}, c)
		}()
		for b := make([]byte, 32<<10); ; {
			n, err := c.Write(b)
			s.byBackend.Add(int64(n))
			if err != nil {
				break
			}
		}
		<-read
	}
}

type counting struct {
	w io.Writer
	n *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.w.Write(p)
}

// small makes the kernel keep little for c.
func small(c *net.TCPConn) {
	c.SetReadBuffer(16 << 10)
	c.SetWriteBuffer(16 << 10)
}

// hostile connects a client and lets it loose. When it can send no more, ended gets the
// error.
func (s *siege) hostile(h hostile) (p *tlspeer.Peer, ended chan error) {
	s.t.Helper()
	raw := testkit.Dial(s.t, s.addr)
	small(raw.(*net.TCPConn))
	p, err := tlspeer.New(raw, s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() {
		_, err := p.Write([]byte{h.backend})
		if err == nil && h.does != nil {
			err = h.does(p, &s.byClient)
		}
		ended <- err
	}()
	return p, ended
}

func (s *siege) counts() counts {
	return counts{s.byClient.Load(), s.toBackend.Load(), s.byBackend.Load()}
}

// wantLeft waits until the proxy has no more than the connections and jobs of so many
// clients: two of each.
func (s *siege) wantLeft(clients uint64) {
	s.t.Helper()
	testkit.Eventually(s.t, fmt.Sprint("the proxy has connections and jobs of no more than clients: ", clients), func() bool {
		now := s.g.Stats()
		return now.Conns == 2*clients && now.Lingering == 0 && now.JobsQueued == 0 && now.JobsStarted-now.JobsFinished == 2*clients
	})
}

// Clients and backends that take nothing, or send what means work without end, do not
// keep others from being served, and the proxy keeps little for them. When they have
// gone, nothing of theirs is left.
func TestHostile(t *testing.T) {
	const many = 3
	// The most that the kernel and the proxy keep of one direction of one client. Linux
	// lets the buffers of a connection that is used grow: up to 4 MB for sending and 32
	// for receiving, on the largest systems. The proxy has less than a megabyte.
	const most = many * (64 << 20)
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			s := newSiege(t, loop.Config{}, 2*testkit.Patience)
			good := s.dial()
			fmt.Fprintf(good, "%c", echoes)
			message := random(100 << 10)
			echo := func() {
				t.Helper()
				good.SetDeadline(time.Now().Add(testkit.Patience))
				go good.Write(message)
				b := make([]byte, len(message))
				if _, err := io.ReadFull(good, b); err != nil || !bytes.Equal(b, message) {
					t.Fatalf("another client did not get its message back: %v", err)
				}
			}
			echo()
			var clients []*tlspeer.Peer
			var ends []chan error
			for range many {
				p, ended := s.hostile(h)
				clients, ends = append(clients, p), append(ends, ended)
				echo()
			}
			if h.leaves != nobody {
				testkit.Eventually(t, "all have their backend", func() bool { return s.g.Stats().Conns == 2*(many+1) })
				testkit.Eventually(t, "they get nothing more through", func() bool {
					before := s.counts()
					for range 5 {
						echo()
					}
					return before != counts{} && s.counts() == before
				})
				for _, ended := range ends {
					if h.does != nil && len(ended) > 0 {
						t.Fatalf("a client was not kept waiting: %v", <-ended)
					}
				}
			}
			t.Logf("%+v got through", s.counts())
			switch h.leaves {
			case theClient:
				for _, p := range clients {
					testkit.Reset(p.Raw)
				}
			case theBackend:
				close(s.leave)
			}
			for range clients {
				if h.leaves != theClient || h.backend != deaf {
					testkit.Receive(t, s.backends)
				}
			}
			for _, ended := range ends {
				testkit.Receive(t, ended)
			}
			s.wantLeft(1)
			echo()
			if n := s.counts(); max(n.byClient, n.toBackend, n.byBackend) > most {
				t.Errorf("%+v got through, want no more than %d of anything", n, most)
			}
			if h.leaves == theClient && h.backend == deaf {
				close(s.leave)
			}
			good.Close()
			s.wantLeft(0)
		})
	}
}

// Clients and backends that take nothing are got rid of, even if they never leave.
func TestHostileForEver(t *testing.T) {
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			idle := 2 * testkit.Patience
			if h.idles {
				idle = 200 * time.Millisecond
			}
			s := newSiege(t, loop.Config{WriteTimeout: 50 * time.Millisecond}, idle)
			_, ended := s.hostile(h)
			testkit.Receive(t, ended)
			s.wantLeft(0)
			close(s.leave)
		})
	}
}
