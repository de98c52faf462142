package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/tcpinfo"
	"github.com/jobloop/jobloop/internal/testkit"
)

// crowd lets clients come who give up soon, a bounded number at a time, until
// stop is closed. Each sends something; answered counts those who got an answer.
func crowd(t *testing.T, addr string, patience time.Duration, stop <-chan bool) (answered *atomic.Int64, wait func()) {
	answered = new(atomic.Int64)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					continue // the backlog was full
				}
				c.(*net.TCPConn).SetLinger(0) // a client that has only ended its side may wait for an answer
				c.SetDeadline(time.Now().Add(patience))
				c.Write([]byte("x"))
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					answered.Add(1)
				}
				c.Close()
			}
		})
	}
	return answered, wg.Wait
}

// until waits for something that must happen.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// holdThread keeps l's thread until the function it returns is called.
func holdThread(t *testing.T, l *Loop) (release func()) {
	t.Helper()
	held, released := make(chan bool), make(chan bool)
	if err := l.Post(func() { close(held); <-released }); err != nil {
		t.Fatal(err)
	}
	<-held
	return func() { close(released) }
}

// limitOf is how many connections may wait for a listener.
func limitOf(t *testing.T, n *Listener) uint32 {
	t.Helper()
	limit := make(chan uint32, 1)
	if err := n.l.Post(func() {
		info, err := unix.GetsockoptTCPInfo(n.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			info = new(unix.TCPInfo)
		}
		limit <- info.Sacked
	}); err != nil {
		t.Fatal(err)
	}
	return <-limit
}

// A server that more clients come to than it can serve, and that they give up
// waiting for, turns away who has waited too long. When the load has gone,
// everybody is served again, and the backlog is what it was.
func TestOverload(t *testing.T) {
	testkit.CheckLeaks(t)
	// Work of 5 ms for each client, of whom 64 are there at a time, for 100 ms.
	l, err := New(Config{MaxWait: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	var served atomic.Uint64
	n, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(_ context.Context, c *Conn) error {
		served.Add(1)
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // keeps the thread
		_, err := c.Write(b)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	before := limitOf(t, n)
	stop := make(chan bool)
	answered, wait := crowd(t, n.Addr().String(), 100*time.Millisecond, stop)
	until(t, "clients who have waited too long are turned away", func() bool { return l.Stats().Shed > 10 })
	until(t, "some are gone before they are served", func() bool { return l.Stats().Gone > 0 })
	until(t, "the backlog is shorter", func() bool { return limitOf(t, n) < before })
	had := answered.Load()
	until(t, "others are served meanwhile", func() bool { return answered.Load() > had+10 })
	close(stop)
	wait()
	until(t, "the backlog is what it was", func() bool { return limitOf(t, n) == before })
	until(t, "all connections are closed", func() bool { return l.Stats().Conns == 0 })
	shed := l.Stats().Shed
	for range 10 {
		c, err := net.Dial("tcp", n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("y"))
		if b, err := io.ReadAll(c); string(b) != "y" {
			t.Errorf("read %q, error %v, when the load has gone", b, err)
		}
		c.Close()
	}
	if err := l.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-ended
	s := l.Stats()
	if s.Shed != shed {
		t.Error("clients were turned away when the load had gone")
	}
	var waits uint64
	for _, n := range s.Waits.Counts {
		waits += n
	}
	if waits != served.Load() {
		t.Errorf("the waits of %d connections are known, of %d", waits, served.Load())
	}
	if s.Accepted != served.Load()+s.Shed+s.Gone {
		t.Errorf("%d accepted; but %d served, %d turned away, %d gone", s.Accepted, served.Load(), s.Shed, s.Gone)
	}
}

// A crowd that has come at once is served to the last, however long it has waited.
func TestCrowdIsServed(t *testing.T) {
	testkit.CheckLeaks(t)
	l, err := New(Config{MaxWait: 10 * time.Millisecond, AcceptsPerTurn: 4, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	n, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(_ context.Context, c *Conn) error {
		time.Sleep(2 * time.Millisecond) // keeps the thread: 600 ms in all
		_, err := c.Write([]byte("x"))
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	release := holdThread(t, l)
	var crowd []net.Conn
	for range 300 {
		c, err := net.Dial("tcp", n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		crowd = append(crowd, c)
	}
	time.Sleep(300 * time.Millisecond) // it has to be older than 20 times MaxWait
	release()
	for _, c := range crowd {
		if b, err := io.ReadAll(c); string(b) != "x" {
			t.Fatalf("read %q, error %v", b, err)
		}
	}
	if s := l.Stats(); s.Shed != 0 {
		t.Errorf("%d were turned away", s.Shed)
	}
	l.Shutdown(context.Background())
	<-ended
}

// A client that has gone before its turn costs no handshake; nor is a client
// turned away that has only ended its side, where that is no TLS.
func TestGoneBeforeAccept(t *testing.T) {
	testkit.CheckLeaks(t)
	l, err := New(Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	hello := func(*TLSConn) { t.Error("a handshake has begun") }
	withTLS, err := l.Listen("tcp", "127.0.0.1:0", &TLSHandler{Config: new(tls.Config), OnHello: hello, Handler: func(context.Context, *TLSConn) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	without, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(_ context.Context, c *Conn) error {
		_, err := io.Copy(c, c)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	release := holdThread(t, l)
	dial := func(n *Listener) *net.TCPConn {
		c, err := net.Dial("tcp", n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write([]byte("\x16\x03\x01"))
		return c.(*net.TCPConn)
	}
	dial(withTLS).Close()
	half := dial(without)
	half.CloseWrite()
	for _, n := range []*Listener{withTLS, without} {
		c := dial(n)
		c.SetLinger(0)
		c.Close()
	}
	release()
	if b, err := io.ReadAll(half); string(b) != "\x16\x03\x01" {
		t.Errorf("read %q, error %v", b, err)
	}
	until(t, "three are gone", func() bool { return l.Stats().Gone == 3 })
	l.Shutdown(context.Background())
	<-ended
}

// Nor does one that has gone while it waited for the loop.
func TestGoneBeforeStart(t *testing.T) {
	testkit.CheckLeaks(t)
	l, err := New(Config{MaxJobs: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	told := make(chan error, 1)
	n, err := l.Listen("tcp", "127.0.0.1:0", &TLSHandler{
		Config:      new(tls.Config),
		OnHello:     func(*TLSConn) { t.Error("a handshake has begun") },
		OnHandshake: func(_ *TLSConn, _ time.Duration, err error) { told <- err },
		Handler:     func(context.Context, *TLSConn) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is accepted", func() bool { return l.Stats().Conns == 1 })
	release, running := make(chan bool), make(chan bool)
	l.Go(func(ctx context.Context) error { // has the only job
		return Await(ctx, func(done func()) { close(running); go func() { <-release; done() }() })
	})
	<-running
	c.Write([]byte("\x16\x03\x01"))
	until(t, "it waits for a job", func() bool { return l.Stats().JobsQueued == 1 })
	time.Sleep(time.Duration(2 * goneAfter)) // younger ones are not asked
	c.Close()
	close(release)
	if err := <-told; !errors.Is(err, ErrClientGone) {
		t.Errorf("OnHandshake was told %v", err)
	}
	l.Shutdown(context.Background())
	<-ended
	if s := l.Stats(); s.Gone != 1 {
		t.Errorf("%d are gone, want 1", s.Gone)
	}
}

// A listening socket may be shared with other processes, of which one may go on
// with it: its backlog is what it was, when a loop has ended.
func TestSharedListenerKeepsBacklog(t *testing.T) {
	testkit.CheckLeaks(t)
	shared, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	f, err := shared.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	limit := func() int {
		q, ok := tcpinfo.QueueOf(int(f.Fd()))
		if !ok {
			t.Fatal("not a listener")
		}
		return q.Limit
	}
	before := limit()
	for _, end := range []func(*Loop, *Listener){
		func(l *Loop, n *Listener) { l.Shutdown(context.Background()) },
		func(l *Loop, n *Listener) { n.Close(); l.Shutdown(context.Background()) },
		func(l *Loop, n *Listener) { l.Post(func() { n.setBacklog(7) }); l.Close() }, // in the middle of an overload
	} {
		l, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Run(context.Background()) }()
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		n, err := l.Serve(ln, HandlerFunc(func(_ context.Context, c *Conn) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		if got := int(limitOf(t, n)); got != before {
			t.Errorf("the backlog is %d, want %d", got, before)
		}
		release := holdThread(t, l)
		c, err := net.Dial("tcp", shared.Addr().String()) // who waits
		if err != nil {
			t.Fatal(err)
		}
		go release()
		end(l, n)
		<-ended
		c.Close()
		if got := limit(); got != before {
			t.Errorf("a loop has left a backlog of %d, which was %d", got, before)
		}
	}
}

// A connection that was dealt to a loop which has ended is closed, and counted
// down, by the one that has accepted it.
func TestDealToEndedLoop(t *testing.T) {
	testkit.CheckLeaks(t)
	g, err := NewGroup(2, Config{MaxConns: 10, Closed: func(net.Addr) {}})
	if err != nil {
		t.Fatal(err)
	}
	accepts, ended := g.loops[0], g.loops[1]
	ended.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := HandlerFunc(func(context.Context, *Conn) error { t.Error("it is served"); return nil })
	if _, err := accepts.adopt(opened{ln: ln}, h, func() *Loop { return ended }); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- accepts.Run(context.Background()) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	c.Close()
	until(t, "it is counted down", func() bool { return g.loops[0].census.conns.Load() == 0 && ended.load.Load() == 0 })
	accepts.Close()
	<-done
}
