//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
)

// leave makes a socket file as a server that is killed leaves it.
func leave(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
}

// raw returns a socket that is bound to path and closed when the test ends.
func raw(t *testing.T, path string) int {
	t.Helper()
	fd, err := newSocket(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// wantAnswers proves that ln is the one that clients of path get.
func wantAnswers(t *testing.T, ln net.Listener, path string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(testkit.Patience))
	s, err := ln.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	s.Close()
}

// wantOnly proves that dir has these files and no others.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the directory has %q, want %q", got, names)
	}
}

func TestStaleFileIsReplaced(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	leave(t, path)
	ln, err := Listen(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, ln, path)
	wantOnly(t, dir, "s")
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	wantOnly(t, dir)
}

// What is not stale stays: whatever a server does with its socket, and whatever is not a
// socket.
func TestOthersAreNotReplaced(t *testing.T) {
	for what, make := range map[string]func(t *testing.T, path string){
		"listens":             func(t *testing.T, path string) { unix.Listen(raw(t, path), 1) },
		"does not listen yet": func(t *testing.T, path string) { raw(t, path) },
		"queue is full": func(t *testing.T, path string) {
			unix.Listen(raw(t, path), 1)
			for range 3 {
				fd, err := newSocket(unix.SOCK_STREAM)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { unix.Close(fd) })
				unix.SetNonblock(fd, true)
				if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
					return
				}
			}
			t.Error("the queue is not full")
		},
		"datagrams": func(t *testing.T, path string) {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		},
		"file": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"directory": func(t *testing.T, path string) { os.Mkdir(path, 0o700) },
		"link to a stale socket": func(t *testing.T, path string) {
			leave(t, path+"2")
			os.Symlink(path+"2", path)
		},
	} {
		t.Run(what, func(t *testing.T) {
			testkit.CheckLeaks(t)
			path := filepath.Join(t.TempDir(), "s")
			make(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := Listen(path, 0, nil)
			if err == nil {
				ln.Close()
			}
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(fmt.Sprint(err), path) {
				t.Errorf("%v, want %v", err, syscall.EADDRINUSE)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it has been removed or replaced: %v", err)
			}
		})
	}
}

// Of servers that start at the same time exactly one has the path, whether or not a file
// is there, and clients get that one.
func TestOneOfManyWins(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := t.TempDir()
	for round := range 100 {
		path := filepath.Join(dir, "s")
		if round%2 == 0 {
			leave(t, path)
		}
		const servers = 8
		var winners atomic.Int32
		lns := make([]*Listener, servers)
		var wg sync.WaitGroup
		start := make(chan bool)
		for i := range servers {
			wg.Go(func() {
				<-start
				ln, err := Listen(path, 0, nil)
				switch {
				case err == nil:
					winners.Add(1)
					lns[i] = ln
				case !errors.Is(err, syscall.EADDRINUSE):
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := winners.Load(); n != 1 {
			t.Errorf("%d servers have the path", n)
		}
		for _, ln := range lns {
			if ln != nil {
				wantAnswers(t, ln, path)
				ln.Close()
			}
		}
		wantOnly(t, dir)
	}
}

// A server's end leaves alone what another server has put in its file's place.
func TestCloseRemovesItsOwnFile(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, adopted := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		var first *Listener
		if adopted {
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			first = Adopt(ln.(*net.UnixListener))
		} else {
			ln, err := Listen(path, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			first = ln
		}
		os.Remove(path)
		second, err := Listen(path, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		first.Close()
		wantAnswers(t, second, path)
		second.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the file is left: %v", err)
		}
	}
}

// A socket that goes on in another process keeps its file.
// Close may be called again, and from more than one goroutine.
func TestCloseTwice(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := t.TempDir()
	ln, err := Listen(filepath.Join(dir, "s"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var closed atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := ln.Close(); err == nil {
				closed.Add(1)
			} else if !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := closed.Load(); n != 1 {
		t.Errorf("%d calls closed it, want 1", n)
	}
	wantOnly(t, dir)
}

func TestFileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestPathIsTooLong(t *testing.T) {
	want := 103
	if runtime.GOOS == "linux" {
		want = 107
	}
	t.Chdir(t.TempDir())
	ln, err := Listen(strings.Repeat("s", want), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, err = Listen(strings.Repeat("s", want+1), 0, nil)
	if !errors.Is(err, syscall.ENAMETOOLONG) || !strings.Contains(fmt.Sprint(err), fmt.Sprint(want)) {
		t.Errorf("%v, want one that says %d", err, want)
	}
}

func TestFailuresLeaveNothing(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := t.TempDir()
	failed := errors.New("no")
	_, err := Listen(filepath.Join(dir, "s"), 0, func(_, _ string, _ syscall.RawConn) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("%v, want %v", err, failed)
	}
	if _, err := Listen(filepath.Join(dir, "no", "s"), 0, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Listen(filepath.Join(dir, "a\x00b"), 0, nil); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	wantOnly(t, dir)
}

// Control gets the socket before it has its file.
func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	called := false
	ln, err := Listen(path, 0, func(network, address string, c syscall.RawConn) error {
		called = true
		if network != "unix" || address != path {
			t.Errorf("Control of %s %s", network, address)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("there is a file: %v", err)
		}
		return c.Control(func(fd uintptr) {
			if kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); kind != unix.SOCK_STREAM || err != nil {
				t.Errorf("socket type %d, %v", kind, err)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if !called {
		t.Error("Control is not called")
	}
}

func TestMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o666, 0o777, 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := Listen(path, mode, nil)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, %v, want %v", info.Mode(), err, mode)
		}
		ln.Close()
	}
}

// This is why there is no moment in which a file has other permissions than those asked
// for: until it listens, nobody can connect.
func TestNobodyConnectsBeforeListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	raw(t, path)
	if c, err := net.Dial("unix", path); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		t.Errorf("%v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestAbstractName(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	testkit.CheckLeaks(t)
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@jobloop-test-%d", os.Getpid())
	ln, err := Listen(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(name, 0, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, want %v", err, syscall.EADDRINUSE)
	}
	wantAnswers(t, ln, name)
	ln.Close()
	wantOnly(t, ".")
}

// The lock of a process that was killed does not count.
func TestLockIsLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(filepath.Join(dir, ".s.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	wantOnly(t, dir, "s")
}

// Whoever holds the lock goes first.
func TestLockIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	leave(t, path)
	before := fileOf(path)
	if ln, err := Listen(path, 0, nil); err == nil {
		ln.Close()
		t.Error("another server listens")
	} else if !strings.Contains(err.Error(), ".s.lock") {
		t.Error(err)
	}
	if now := fileOf(path); now == nil || !os.SameFile(before, now) {
		t.Error("the file was replaced")
	}
	unlock()
	ln, err := Listen(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

// A lock file that another user has left behind can be locked, without write permission.
func TestLockOfAnother(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, ".s.lock")
	if err := os.WriteFile(name, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(filepath.Join(dir, "s"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	wantOnly(t, dir)
}

// A lock file whose last owner has removed it is no lock: others use the next one.
func TestLockThatIsGone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !isAt(int(f.Fd()), name) {
		t.Error("a file is not where it was created")
	}
	os.Remove(name)
	if isAt(int(f.Fd()), name) {
		t.Error("a file is where it was removed")
	}
	next, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if isAt(int(f.Fd()), name) {
		t.Error("a file is where another one is")
	}
}
