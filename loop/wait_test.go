//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
	"github.com/jobloop/jobloop/waitctx"
)

// newPipe returns a non-blocking pipe. The ends that the test has not closed by
// then are closed when it ends.
func newPipe(t *testing.T) (r, w *pipeEnd) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	r, w = &pipeEnd{fds[0]}, &pipeEnd{fds[1]}
	t.Cleanup(r.close)
	t.Cleanup(w.close)
	return r, w
}

type pipeEnd struct{ fd int }

func (p *pipeEnd) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

func (p *pipeEnd) write(t *testing.T, s string) {
	t.Helper()
	if n, err := unix.Write(p.fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// read reads from the pipe inside a job, as code does that knows nothing of
// loops: it pauses when there is nothing. The pipe is in j's WaitCtx.
func (p *pipeEnd) read(j jobs.Job) (string, error) {
	b := make([]byte, 64)
	for {
		n, err := unix.Read(p.fd, b)
		switch {
		case n > 0:
			return string(b[:n]), nil
		case n == 0 && err == nil:
			return "", errors.New("the pipe is at its end")
		case err != unix.EAGAIN:
			return "", err
		}
		if err := j.Pause(); err != nil {
			return "", err
		}
	}
}

func (p *pipeEnd) readExactly(j jobs.Job, want string) error {
	got, err := p.read(j)
	if err == nil && got != want {
		err = fmt.Errorf("read %q, want %q", got, want)
	}
	return err
}

// waiting waits until n jobs have paused.
func waiting(t *testing.T, l *loop.Loop, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d jobs wait", n), func() bool { return looptest.Settle(t, l).JobsPaused == uint64(n) })
}

func TestWaitForFD(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r, w := newPipe(t)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFD("pipe", r.fd, nil, nil); err != nil {
			return err
		}
		for i := range 100 {
			if err := r.readExactly(j, fmt.Sprint(i)); err != nil {
				return err
			}
			l.Post(func() { w.write(t, fmt.Sprint(i+1)) })
		}
		return r.readExactly(j, "100")
	})
	waiting(t, l, 1)
	w.write(t, "0")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// A job that leaves what is there is resumed for it at each pause: it must be
// able to rely on the level.
func TestWaitForFDIsLevelTriggered(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r, w := newPipe(t)
	w.write(t, "x")
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFD(1, r.fd, nil, nil); err != nil {
			return err
		}
		for range 5 {
			if err := j.Pause(); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestWaitForSeveralFDs(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const n = 5
	var rs, ws [n]*pipeEnd
	for i := range n {
		rs[i], ws[i] = newPipe(t)
	}
	step := make(chan string, 1)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		for i, r := range rs {
			if err := j.WaitCtx().SetWaitFD(i, r.fd, nil, nil); err != nil {
				return err
			}
		}
		for seen := 0; seen < n; {
			if err := j.Pause(); err != nil {
				return err
			}
			b := make([]byte, 10)
			for i, r := range rs {
				if k, _ := unix.Read(r.fd, b); k > 0 {
					j.WaitCtx().ClearFD(i)
					seen++
					step <- string(b[:k])
				}
			}
		}
		return nil
	})
	for _, i := range []int{3, 0, 4, 1, 2} {
		ws[i].write(t, fmt.Sprint(i))
		if got := testkit.Receive(t, step); got != fmt.Sprint(i) {
			t.Fatalf("woken for %s, want %d", got, i)
		}
	}
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestWaitSeveralJobsForOneFD(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r, w := newPipe(t)
	const n = 5
	got := make(chan string, n)
	var all []<-chan error
	for range n {
		all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			if err := j.WaitCtx().SetWaitFD("p", r.fd, nil, nil); err != nil {
				return err
			}
			b := make([]byte, 1)
			for {
				if k, _ := unix.Read(r.fd, b); k == 1 {
					got <- string(b)
					return nil
				}
				if err := j.Pause(); err != nil {
					return err
				}
			}
		}))
	}
	waiting(t, l, n)
	for i := range n {
		w.write(t, fmt.Sprint(i))
		if s := testkit.Receive(t, got); s != fmt.Sprint(i) {
			t.Errorf("read %s, want %d", s, i)
		}
	}
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitForWritable(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r, w := newPipe(t)
	filled := 0
	for b := make([]byte, 4096); ; {
		n, err := unix.Write(w.fd, b)
		if err != nil {
			break
		}
		filled += n
	}
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFDEvents("w", w.fd, waitctx.Writable, nil, nil); err != nil {
			return err
		}
		for {
			if err := j.Pause(); err != nil {
				return err
			}
			if n, _ := unix.Write(w.fd, []byte("x")); n == 1 {
				return nil
			}
		}
	})
	waiting(t, l, 1)
	select {
	case err := <-done:
		t.Fatalf("a full pipe was written to: %v", err)
	default:
	}
	for b := make([]byte, 4096); filled > 0; {
		n, err := unix.Read(r.fd, b)
		if err != nil {
			t.Fatal(err)
		}
		filled -= n
	}
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// One job waits to read and the other to write, on the same descriptor. What
// one of them waits for in another way does not keep the other awake.
func TestWaitBothDirections(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	goOn := false
	writer := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFDEvents("w", fds[0], waitctx.Writable, nil, nil); err != nil {
			return err
		}
		if err := j.Pause(); err != nil { // it is writable
			return err
		}
		return loop.Sleep(ctx, time.Hour)
	})
	reader := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFD("r", fds[0], nil, nil); err != nil {
			return err
		}
		return await(j, func() bool { return goOn })
	})
	waiting(t, l, 2)
	wantFewTurns(t, l)
	looptest.Call(t, l, func() { goOn = true })
	if _, err := unix.Write(fds[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, reader); err != nil {
		t.Error(err)
	}
	l.Close()
	if err := testkit.Receive(t, writer); err != jobs.ErrCanceled {
		t.Error(err)
	}
}

func TestWaitFDCleared(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r1, w1 := newPipe(t)
	r2, w2 := newPipe(t)
	stage := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		w := j.WaitCtx()
		if err := errors.Join(w.SetWaitFD(1, r1.fd, nil, nil), w.SetWaitFD(2, r2.fd, nil, nil)); err != nil {
			return err
		}
		if err := r2.readExactly(j, "one"); err != nil {
			return err
		}
		w.ClearFD(1) // which is still watched
		close(stage)
		return r2.readExactly(j, "two")
	})
	waiting(t, l, 1)
	w2.write(t, "one")
	testkit.Receive(t, stage)
	wantFewTurns(t, l)
	before := looptest.Settle(t, l).Events
	w1.write(t, "more")
	if n := looptest.Settle(t, l).Events - before; n != 0 {
		t.Errorf("%d events of a descriptor that was cleared", n)
	}
	w2.write(t, "two")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// The number of a descriptor that was cleared and closed comes back at once, as
// another file, between two pauses.
func TestWaitFDReused(t *testing.T) {
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d other jobs", others), func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			r, w := newPipe(t)
			r2, w2 := newPipe(t)
			fd := r.fd
			stage := make(chan string, 2)
			job := func(ctx context.Context, again func() error) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFD("k", fd, nil, nil); err != nil {
					return err
				}
				if err := r.readExactly(j, "1"); err != nil {
					return err
				}
				j.WaitCtx().ClearFD("k")
				if err := again(); err != nil {
					return err
				}
				if err := j.WaitCtx().SetWaitFD("k", fd, nil, nil); err != nil {
					return err
				}
				stage <- "reused"
				return r.readExactly(j, "2")
			}
			// Others wait for the same number from before to after.
			var all []<-chan error
			for range others {
				all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
					j, _ := jobs.FromContext(ctx)
					if err := j.WaitCtx().SetWaitFD("k", fd, nil, nil); err != nil {
						return err
					}
					return await(j, func() bool { return r.fd < 0 })
				}))
			}
			waiting(t, l, others)
			done := looptest.Spawn(t, l, func(ctx context.Context) error {
				return job(ctx, func() error {
					return unix.Dup2(r2.fd, fd) // closes what it was
				})
			})
			waiting(t, l, others+1)
			w.write(t, "1")
			testkit.Receive(t, stage)
			waiting(t, l, others+1)
			w2.write(t, "2")
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
			looptest.Call(t, l, r.close)
			l.Close()
			for _, done := range all {
				testkit.Receive(t, done)
			}
		})
	}
}

// It comes back as a connection of the loop's.
func TestWaitFDReusedByConn(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	addr := looptest.Listen(t, l, echo)
	r, w := newPipe(t)
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		w.write(t, "1")
		if err := j.WaitCtx().SetWaitFD("k", r.fd, nil, nil); err != nil {
			return err
		}
		if err := j.Pause(); err != nil {
			return err
		}
		j.WaitCtx().ClearFD("k")
		r.close()
		c, err := loop.Dial(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer c.Close()
		for range 3 {
			if _, err := c.Write([]byte("echo")); err != nil {
				return err
			}
			if err := readAll(c, "echo"); err != nil {
				return err
			}
		}
		return nil
	})
}

// What is always ready is so at its end too, and what the poller does not take
// ends no job.
func TestWaitForFiles(t *testing.T) {
	open := func(name string) func(t *testing.T) (int, error) {
		return func(t *testing.T) (int, error) {
			return unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		}
	}
	for name, open := range map[string]func(t *testing.T) (int, error){
		"a regular file, empty": func(t *testing.T) (int, error) {
			return unix.Open(filepath.Join(t.TempDir(), "f"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		},
		"a directory": open("."),
		"/dev/null":   open(os.DevNull),
		"/dev/zero":   open("/dev/zero"),
		"a pipe without a reader": func(t *testing.T) (int, error) {
			r, w := newPipe(t)
			r.close()
			return unix.Dup(w.fd)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{PollInterval: time.Millisecond})
			fd, err := open(t)
			if err != nil {
				t.Skip(err)
			}
			defer unix.Close(fd)
			ev := waitctx.Readable
			if name == "a pipe without a reader" {
				ev = waitctx.Writable
			}
			looptest.Must(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFDEvents("f", fd, ev, nil, nil); err != nil {
					return err
				}
				for range 3 {
					if err := j.Pause(); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// A job that writes to a pipe is woken when the reader goes.
func TestWaitForPipeReaderGoes(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	r, w := newPipe(t)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFDEvents("w", w.fd, waitctx.Writable, nil, nil); err != nil {
			return err
		}
		for {
			switch _, err := unix.Write(w.fd, make([]byte, 4<<10)); {
			case err == unix.EPIPE:
				return nil
			case err == unix.EAGAIN:
				if err := j.Pause(); err != nil {
					return err
				}
			case err != nil:
				return err
			}
		}
	})
	waiting(t, l, 1)
	looptest.Call(t, l, r.close)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// What is no descriptor costs the job that waits for it, and no other.
func TestWaitForInvalidFD(t *testing.T) {
	for _, fd := range []int{1 << 19, 1 << 30, math.MaxInt32, math.MaxInt} {
		t.Run(fmt.Sprint(fd), func(t *testing.T) {
			var out testkit.Log
			l := looptest.New(t, loop.Config{Logger: out.Logger()})
			r, w := newPipe(t)
			other := looptest.Spawn(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFD("r", r.fd, nil, nil); err != nil {
					return err
				}
				return r.readExactly(j, "x")
			})
			err := do(t, l, func(ctx context.Context) error {
				j, _ := jobs.FromContext(ctx)
				if err := j.WaitCtx().SetWaitFD("bad", fd, nil, nil); err != nil {
					return err
				}
				return j.Pause()
			})
			if err != jobs.ErrCanceled {
				t.Errorf("Pause: %v, want %v", err, jobs.ErrCanceled)
			}
			w.write(t, "x")
			if err := testkit.Receive(t, other); err != nil {
				t.Error(err)
			}
			wantOneLine(t, l, &out, "level=ERROR", fmt.Sprintf("fd=%d", fd))
		})
	}
}

// A library that has a Conn's descriptor may wait for it in its own way.
func TestWaitForConn(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		j, _ := jobs.FromContext(ctx)
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		if err := rc.Control(func(fd uintptr) {
			err = j.WaitCtx().SetWaitFD("conn", int(fd), nil, nil)
		}); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		for _, want := range []string{"a", "b", "c"} {
			for got := ""; got == ""; {
				if err := j.Pause(); err != nil {
					return err
				}
				rc.Control(func(fd uintptr) {
					b := make([]byte, 10)
					if n, _ := unix.Read(int(fd), b); n > 0 {
						got = string(b[:n])
					}
				})
				if got != "" && got != want {
					return fmt.Errorf("read %q, want %q", got, want)
				}
			}
			if _, err := c.Write([]byte(want)); err != nil {
				return err
			}
		}
		if n := j.WaitCtx().ClearFD("conn"); !n {
			return errors.New("the descriptor was not registered")
		}
		return readAll(c, "d")
	})
	for _, s := range []string{"a", "b", "c"} {
		send(t, c, s)
		testkit.WantRead(t, c, s)
	}
	send(t, c, "d")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// What came before the job waited was reported before it waited.
func TestWaitForConnWithBytesThere(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	goOn := false
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		for !goOn {
			if err := loop.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		j, _ := jobs.FromContext(ctx)
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		if err := rc.Control(func(fd uintptr) {
			err = j.WaitCtx().SetWaitFD("conn", int(fd), nil, nil)
		}); err != nil {
			return err
		}
		return errors.Join(err, j.Pause())
	})
	send(t, c, "x")
	looptest.Settle(t, l)
	looptest.Call(t, l, func() { goOn = true })
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Close wakes those who wait for the descriptor in their own way too.
func TestWaitForConnThatCloses(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	conns := make(chan *loop.Conn, 1)
	_, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		j, _ := jobs.FromContext(ctx)
		rc, err := c.SyscallConn()
		if err != nil {
			return err
		}
		if err := rc.Control(func(fd uintptr) {
			err = j.WaitCtx().SetWaitFD("conn", int(fd), nil, nil)
		}); err != nil {
			return err
		}
		conns <- c
		closed := func() bool { return errors.Is(rc.Control(func(uintptr) {}), net.ErrClosed) }
		return errors.Join(err, await(j, closed))
	})
	c := testkit.Receive(t, conns)
	waiting(t, l, 1)
	c.Close()
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestWaitCleanup(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for name, fn := range map[string]func(j jobs.Job) error{
		"returns":      func(j jobs.Job) error { return j.Pause() },
		"ends at once": func(j jobs.Job) error { return nil },
	} {
		r, w := newPipe(t)
		w.write(t, "x")
		cleaned := make(chan int, 2)
		looptest.Must(t, l, func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			if err := j.WaitCtx().SetWaitFD("r", r.fd, 42, func(_ *waitctx.WaitCtx, _ any, fd int, data any) {
				r.close()
				cleaned <- data.(int)
			}); err != nil {
				return err
			}
			return fn(j)
		})
		if got := testkit.Receive(t, cleaned); got != 42 {
			t.Errorf("%s: cleanup was given %d", name, got)
		}
	}
}

func TestWaitCleanupPanics(t *testing.T) {
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		return j.WaitCtx().SetWaitFD("r", 0, nil, func(*waitctx.WaitCtx, any, int, any) { panic("in a cleanup") })
	})
	looptest.Must(t, l, func(ctx context.Context) error { return nil })
	wantOneLine(t, l, &out, "level=ERROR", "in a cleanup")
}

// A job that says nothing of what it waits for is polled, and no more often
// than the interval says.
func TestWaitIsPolled(t *testing.T) {
	tests := []struct {
		name   string
		set    func(w *waitctx.WaitCtx) error
		polled bool
	}{
		{"nothing set", func(w *waitctx.WaitCtx) error { return nil }, true},
		{"StatusEAgain", func(w *waitctx.WaitCtx) error { w.Callback(); w.SetStatus(waitctx.StatusEAgain); return nil }, true},
		{"StatusOK", func(w *waitctx.WaitCtx) error { w.SetStatus(waitctx.StatusOK); return nil }, false},
		{"callback taken", func(w *waitctx.WaitCtx) error { w.Callback(); return nil }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := looptest.New(t, loop.Config{PollInterval: 2 * time.Millisecond})
			resumes := 0
			var j jobs.Job
			end := false
			done := looptest.Spawn(t, l, func(ctx context.Context) error {
				j, _ = jobs.FromContext(ctx)
				if err := tt.set(j.WaitCtx()); err != nil {
					return err
				}
				return await(j, func() bool { resumes++; return end })
			})
			waiting(t, l, 1)
			if tt.polled {
				testkit.Eventually(t, "the job is polled", func() (ok bool) {
					looptest.Call(t, l, func() { ok = resumes > 3 })
					return ok
				})
			}
			before := 0
			looptest.Call(t, l, func() { before = resumes })
			wantFewTurns(t, l) // 20 ms or more
			looptest.Call(t, l, func() {
				if !tt.polled && resumes != before {
					t.Errorf("resumed %d times", resumes-before)
				}
				end = true
			})
			if err := l.Wake(j); err != nil {
				t.Fatal(err)
			}
			if err := testkit.Receive(t, done); err != nil {
				t.Error(err)
			}
		})
	}
}
