//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/waitctx"
)

// far is a timeout that a wait never reaches, unless it fails.
const far = 30 * time.Second

func newTestPoller(t *testing.T) *poller {
	t.Helper()
	testkit.CheckLeaks(t)
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// socketPair returns two connected stream sockets.
func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return fds[0], fds[1]
}

// tcpPair returns two connected TCP sockets. The test closes b itself.
func tcpPair(t *testing.T) (a, b int) {
	t.Helper()
	ln, err := socket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 1); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	a, err = sysConnect(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(a) })
	if ready, err := sysPoll(ln, waitctx.Readable, far); !ready || err != nil {
		t.Fatalf("nothing to accept: %v", err)
	}
	b, _, err = accept(ln)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func addFD(t *testing.T, p *poller, fd int, gen generation) {
	t.Helper()
	if err := p.add(fd, gen); err != nil {
		t.Fatalf("add: %v", err)
	}
}

func armFD(t *testing.T, p *poller, fd int, gen generation, ev waitctx.Events, fresh bool) {
	t.Helper()
	if err := p.arm(fd, gen, ev, fresh); err != nil {
		t.Fatalf("arm: %v", err)
	}
}

func writeByte(t *testing.T, fd int) {
	t.Helper()
	if n, err := unix.Write(fd, []byte{1}); n != 1 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// waitFor waits until the events reported for fd, together, satisfy ok. (A
// kqueue reports each direction as an event of its own.)
func waitFor(t *testing.T, p *poller, fd int, gen generation, what string, ok func(event) bool) {
	t.Helper()
	var sum event
	var events [8]event
	for end := time.Now().Add(far); time.Now().Before(end); {
		n, err := p.wait(events[:], time.Until(end))
		if err != nil {
			t.Fatalf("wait: %v", err)
		}
		for _, e := range events[:n] {
			if e.fd != fd {
				t.Fatalf("event for descriptor %d, want %d: %+v", e.fd, fd, e)
			}
			if e.gen != gen {
				t.Fatalf("event of generation %d, want %d", e.gen, gen)
			}
			sum.readable = sum.readable || e.readable
			sum.writable = sum.writable || e.writable
			sum.eof = sum.eof || e.eof
			sum.failed = sum.failed || e.failed
		}
		if ok(sum) {
			return
		}
	}
	t.Fatalf("never %s: %+v", what, sum)
}

func readable(e event) bool { return e.readable }
func writable(e event) bool { return e.writable }

// drainEvents takes all events there are now.
func drainEvents(t *testing.T, p *poller) []event {
	t.Helper()
	var all []event
	for {
		events := make([]event, 64)
		n, err := p.wait(events, 0)
		if err != nil {
			t.Fatalf("wait: %v", err)
		}
		if n == 0 {
			return all
		}
		all = append(all, events[:n]...)
	}
}

func wantNoEvents(t *testing.T, p *poller, when string) {
	t.Helper()
	if all := drainEvents(t, p); len(all) != 0 {
		t.Fatalf("%s: events %+v, want none", when, all)
	}
}

func TestPollerEdges(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	addFD(t, p, a, 7)
	waitFor(t, p, a, 7, "writable", writable)
	wantNoEvents(t, p, "after the first report")

	writeByte(t, b)
	waitFor(t, p, a, 7, "readable", readable)
	wantNoEvents(t, p, "with the same byte still there")

	writeByte(t, b)
	waitFor(t, p, a, 7, "readable again", readable)
}

// What was ready before add must be reported too.
func TestPollerAddReady(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	writeByte(t, b)
	addFD(t, p, a, 1)
	waitFor(t, p, a, 1, "readable", readable)
}

func TestPollerArmOnce(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	armFD(t, p, a, 3, waitctx.Readable, true)
	wantNoEvents(t, p, "with nothing to read")
	writeByte(t, b)
	waitFor(t, p, a, 3, "readable", readable)

	writeByte(t, b)
	wantNoEvents(t, p, "not armed again")
	// Armed again, it reports what is there still: the level, not the edge.
	for range 2 {
		armFD(t, p, a, 3, waitctx.Readable, false)
		waitFor(t, p, a, 3, "readable", readable)
	}
}

func TestPollerArmChangesInterest(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	armFD(t, p, a, 1, waitctx.Readable, true)
	armFD(t, p, a, 1, waitctx.Writable, false)
	waitFor(t, p, a, 1, "writable", writable)

	armFD(t, p, a, 1, waitctx.Writable, false)
	armFD(t, p, a, 1, waitctx.Readable, false)
	wantNoEvents(t, p, "armed for reading only")
	writeByte(t, b)
	waitFor(t, p, a, 1, "readable", readable)

	armFD(t, p, a, 1, waitctx.Readable|waitctx.Writable, false)
	waitFor(t, p, a, 1, "readable and writable", func(e event) bool { return e.readable && e.writable })
}

func TestPollerArmWrongHint(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	writeByte(t, b)
	armFD(t, p, a, 1, waitctx.Readable, false) // it is fresh
	waitFor(t, p, a, 1, "readable", readable)
	armFD(t, p, a, 2, waitctx.Readable, true) // it is not
	waitFor(t, p, a, 2, "readable", readable)
}

func TestPollerRemove(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	addFD(t, p, a, 1)
	armFD(t, p, b, 1, waitctx.Readable, true)
	drainEvents(t, p)
	for range 2 { // the second time it is not known, which is no error
		for _, fd := range []int{a, b} {
			if err := p.remove(fd); err != nil {
				t.Fatalf("remove: %v", err)
			}
		}
	}
	writeByte(t, a)
	writeByte(t, b)
	wantNoEvents(t, p, "removed")
	if err := p.remove(1 << 20); err != nil {
		t.Errorf("remove of what is not open: %v", err)
	}

	addFD(t, p, a, 2)
	waitFor(t, p, a, 2, "readable", readable)
}

// A descriptor's number comes back; its events say which owner they are for.
func TestPollerReusedFD(t *testing.T) {
	p := newTestPoller(t)
	a, b := socketPair(t)
	c, d := socketPair(t)
	addFD(t, p, a, 1)
	writeByte(t, b)
	drainEvents(t, p)
	if err := unix.Dup2(c, a); err != nil { // closes what a was
		t.Fatal(err)
	}
	addFD(t, p, a, 2)
	writeByte(t, d)
	waitFor(t, p, a, 2, "readable", readable)
}

func TestPollerTimeouts(t *testing.T) {
	p := newTestPoller(t)
	var events [4]event
	for _, timeout := range []time.Duration{0, 1, time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		n, err := p.wait(events[:], timeout)
		if n != 0 || err != nil {
			t.Errorf("wait(%v) = %d, %v", timeout, n, err)
		}
		if d := time.Since(start); d < timeout {
			t.Errorf("wait(%v) took %v", timeout, d)
		}
	}
	// A timeout nobody lives to see must not be refused.
	if err := p.wake(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.wait(events[:], 1<<63-1); n != 0 || err != nil {
		t.Errorf("wait for 292 years, woken = %d, %v", n, err)
	}
}

func TestPollerWake(t *testing.T) {
	p := newTestPoller(t)
	var events [4]event
	// More often than an eventfd or a pipe that nobody reads would stand.
	for i := range 100_000 {
		if err := p.wake(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		n, err := p.wait(events[:], far)
		if n != 0 || err != nil {
			t.Fatalf("wait = %d, %v", n, err)
		}
		if time.Since(start) >= far {
			t.Fatalf("wake %d has no effect", i)
		}
	}
	for range 100_000 { // and without a wait between
		if err := p.wake(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := p.wait(events[:], -1); n != 0 || err != nil {
		t.Fatalf("wait = %d, %v", n, err)
	}
}

// Before a wait or during it: both come up as two goroutines take turns.
func TestPollerWakeFromOutside(t *testing.T) {
	p := newTestPoller(t)
	const n = 2000
	waited := make(chan bool, 1)
	failed := make(chan error, 1)
	go func() {
		for range n {
			if err := p.wake(); err != nil {
				failed <- err
				return
			}
			if !<-waited {
				break
			}
		}
		failed <- nil
	}()
	var events [4]event
	for i := range n {
		start := time.Now()
		_, err := p.wait(events[:], far)
		lost := time.Since(start) >= far
		waited <- err == nil && !lost
		if err != nil || lost {
			t.Errorf("wait %d: lost %t, error %v", i, lost, err)
			break
		}
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

// At the peer's end both directions matter: half of it, and all of it.
func TestPollerEnds(t *testing.T) {
	tests := []struct {
		name   string
		end    func(t *testing.T, peer int)
		want   func(event) bool
		failed bool
	}{
		{"half close", func(t *testing.T, peer int) {
			if err := unix.Shutdown(peer, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(peer) })
		}, func(e event) bool { return e.eof && e.readable }, false},
		{"both sides are shut", func(t *testing.T, peer int) {
			if err := unix.Shutdown(peer, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(peer) })
		}, func(e event) bool { return e.eof && e.readable }, false},
		{"reset", func(t *testing.T, peer int) {
			if err := setLinger(peer, 0); err != nil {
				t.Fatal(err)
			}
			unix.Close(peer)
		}, func(e event) bool { return e.failed && e.eof && e.readable && e.writable }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestPoller(t)
			a, peer := tcpPair(t)
			addFD(t, p, a, 1)
			waitFor(t, p, a, 1, "writable", writable)
			if tt.name == "both sides are shut" {
				if err := unix.Shutdown(a, unix.SHUT_WR); err != nil {
					t.Fatal(err)
				}
				for _, e := range drainEvents(t, p) {
					if e.failed || e.eof {
						t.Errorf("dead after its own shutdown: %+v", e)
					}
				}
			}
			tt.end(t, peer)
			waitFor(t, p, a, 1, "ended", tt.want)
			if !tt.failed {
				for _, e := range drainEvents(t, p) {
					if e.failed {
						t.Errorf("dead, though it can still be written to: %+v", e)
					}
				}
			}
		})
	}
}

// The writer of a pipe goes: its reader is at the end, whatever it waits for.
func TestPollerPipeHangUp(t *testing.T) {
	p := newTestPoller(t)
	r, w := pipe(t)
	armFD(t, p, r, 1, waitctx.Readable, true)
	unix.Close(w)
	waitFor(t, p, r, 1, "at the end", func(e event) bool { return e.readable && e.eof })
}

// The reader of a pipe goes: its writer is told, whether it waits already or not.
func TestPollerPipeReaderGoes(t *testing.T) {
	p := newTestPoller(t)
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	r, w := fds[0], fds[1]
	defer unix.Close(w)
	fill(t, w)
	armFD(t, p, w, 1, waitctx.Writable, true)
	wantNoEvents(t, p, "full")
	unix.Close(r)
	waitFor(t, p, w, 1, "told", func(e event) bool { return e.writable || e.eof })

	// A kqueue refuses it now: poll(2) has to tell.
	err := p.arm(w, 2, waitctx.Writable, false)
	if err == nil {
		waitFor(t, p, w, 2, "told again", func(e event) bool { return e.writable || e.eof })
	} else if ready, perr := sysPoll(w, waitctx.Writable, 0); !ready || perr != nil {
		t.Errorf("arm: %v, and poll says ready %t, %v", err, ready, perr)
	}
}

// fill writes until fd takes no more.
func fill(t *testing.T, fd int) {
	t.Helper()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; size /= 2 { // a pipe takes small pieces whole, or not at all
		for {
			if _, err := unix.Write(fd, make([]byte, size)); err == unix.EAGAIN {
				break
			} else if err != nil && err != unix.EINTR {
				t.Fatal(err)
			}
		}
	}
}

// pipe returns a pipe. The test closes w itself.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	return fds[0], fds[1]
}

func TestPollerManyEvents(t *testing.T) {
	p := newTestPoller(t)
	const n = 300
	want := map[int]bool{}
	for range n {
		r, w := pipe(t)
		t.Cleanup(func() { unix.Close(w) })
		writeByte(t, w)
		armFD(t, p, r, 1, waitctx.Readable, true)
		want[r] = true
	}
	var events [64]event // fewer than there are
	for end := time.Now().Add(far); len(want) > 0; {
		k, err := p.wait(events[:], time.Until(end))
		if err != nil || k == 0 {
			t.Fatalf("wait = %d, %v with %d events missing", k, err, len(want))
		}
		for _, e := range events[:k] {
			if !want[e.fd] {
				t.Fatalf("event for %d, which reported before or was not armed", e.fd)
			}
			delete(want, e.fd)
		}
	}
	wantNoEvents(t, p, "each has reported once")
}

// Regular files are always ready. An epoll refuses them, and a kqueue says so only
// before their end.
func TestPollerRegularFile(t *testing.T) {
	p := newTestPoller(t)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("x")
	f.Seek(0, 0)
	fd := int(f.Fd())
	if err := p.arm(fd, 1, waitctx.Readable, true); !isErrno(err, errnoEPERM) {
		t.Errorf("arm: %v, want %v", err, errnoEPERM)
	}
	if err := p.remove(fd); err != nil {
		t.Errorf("remove: %v", err)
	}
}

func TestPollerInvalidFD(t *testing.T) {
	p := newTestPoller(t)
	const fd = 1 << 20
	if err := p.arm(fd, 1, waitctx.Readable, true); !errors.Is(err, unix.EBADF) {
		t.Errorf("arm: %v, want %v", err, unix.EBADF)
	}
	if err := p.add(fd, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("add: %v, want %v", err, unix.EBADF)
	}
}

func TestGenerationsDiffer(t *testing.T) {
	g := generation(maxGeneration)
	if g.next() == g || g.next() > maxGeneration {
		t.Errorf("after %d comes %d", g, g.next())
	}
	p := newTestPoller(t)
	a, b := socketPair(t)
	writeByte(t, b)
	armFD(t, p, a, maxGeneration, waitctx.Readable, true) // all its bits come back
	waitFor(t, p, a, maxGeneration, "readable", readable)
}
