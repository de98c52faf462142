package loop_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Each option works, or is refused with an error that names it.
func TestListenConfigOptions(t *testing.T) {
	l := looptest.New(t, loop.Config{Logger: silent()})
	g := newGroup(t, 2, loop.Config{Logger: silent()})
	for name, lc := range map[string]loop.ListenConfig{
		"":            {},
		"KeepAlive":   {KeepAlive: time.Minute},
		"DeferAccept": {DeferAccept: time.Second},
		"FastOpen":    {FastOpen: 16},
	} {
		listens := map[string]func() (net.Addr, func() error, error){
			"Listen": func() (net.Addr, func() error, error) {
				ln, err := lc.Listen(l, "tcp", "127.0.0.1:0", echo)
				if err != nil {
					return nil, nil, err
				}
				return ln.Addr(), ln.Close, nil
			},
			"ListenGroup": func() (net.Addr, func() error, error) {
				ln, err := lc.ListenGroup(g, "tcp", "127.0.0.1:0", echo)
				if err != nil {
					return nil, nil, err
				}
				return ln.Addr(), ln.Close, nil
			},
		}
		for how, listen := range listens {
			addr, end, err := listen()
			if errors.Is(err, errors.ErrUnsupported) && strings.Contains(err.Error(), "ListenConfig."+name) {
				continue
			}
			if err != nil {
				t.Errorf("%s with %q: %v", how, name, err)
				continue
			}
			wantEcho(t, addr)
			end()
		}
	}
}

func TestListenConfigInvalid(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for name, lc := range map[string]loop.ListenConfig{
		"KeepAlive":   {KeepAlive: -1},
		"DeferAccept": {DeferAccept: 1000 * time.Hour},
		"FastOpen":    {FastOpen: -1},
		"FileMode":    {FileMode: fs.ModeDir | 0o700},
	} {
		_, err := lc.Listen(l, "tcp", "127.0.0.1:0", echo)
		if !errors.Is(err, loop.ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("an invalid %s: %v", name, err)
		}
	}
}

// Control is called for each socket before it has an address, and its error is Listen's.
func TestListenConfigControl(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	g := newGroup(t, 3, loop.Config{})
	failed := errors.New("no")
	for _, tt := range []struct{ network, address, want string }{
		{"tcp", "127.0.0.1:0", "tcp4"}, {"unix", filepath.Join(t.TempDir(), "s"), "unix"},
	} {
		var calls atomic.Int32
		lc := loop.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
			calls.Add(1)
			if network != tt.want {
				t.Errorf("Control of %q, want %q", network, tt.want)
			}
			return c.Control(func(fd uintptr) {})
		}}
		ln, err := lc.Listen(l, tt.network, tt.address, echo)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, ln.Addr())
		ln.Close()
		wantFree(t, ln.Addr())
		if calls.Load() != 1 {
			t.Errorf("%d calls of Control", calls.Load())
		}
		gln, err := lc.ListenGroup(g, tt.network, tt.address, echo)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, gln.Addr())
		gln.Close()
		lc.Control = func(string, string, syscall.RawConn) error { return failed }
		if _, err := lc.Listen(l, tt.network, tt.address, echo); !errors.Is(err, failed) {
			t.Errorf("Listen: %v, want %v", err, failed)
		}
	}
}

// The listener of TLS has the options too.
func TestListenConfigTLS(t *testing.T) {
	called := false
	ln := listenTLS(t, loop.TLSListenConfig{Loops: 1, ListenConfig: loop.ListenConfig{Control: func(string, string, syscall.RawConn) error {
		called = true
		return nil
	}}})
	ln.Close()
	if !called {
		t.Error("Control is not called")
	}
}

// "tcp6" without a host leaves the port for IPv4 to others, "tcp" does not.
func TestListenIPv6Only(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	six, err := l.Listen("tcp6", ":0", echo)
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	port := six.Addr().(*net.TCPAddr).Port
	four, err := l.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port), echo)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, four.Addr())
	six.Close()
	four.Close()
	both, err := l.Listen("tcp", fmt.Sprintf(":%d", port), echo)
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	wantEcho(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	wantEcho(t, &net.TCPAddr{IP: net.IPv6loopback, Port: port})
}

// A file that a killed server has left behind is replaced. Another server's is not.
func TestListenUnixStale(t *testing.T) {
	g := newGroup(t, 2, loop.Config{})
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Listen("unix", path, echo); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen where a server is: %v, want %v", err, syscall.EADDRINUSE)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close() // as the kernel does for a process that is killed
	ln, err := g.Listen("unix", path, echo)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, ln.Addr())
	if ln.Addr().String() != path {
		t.Errorf("the address is %v", ln.Addr())
	}
	ln.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestListenUnixFileMode(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := (&loop.ListenConfig{FileMode: mode}).Listen(l, "unix", path, echo)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, %v, want %v", info.Mode(), err, mode)
		}
		ln.Close()
	}
}

// A socket that was handed to another process keeps its file, and its clients. A file
// that another server has put in the place of a given listener's stays too.
func TestServeKeepsFile(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	path := filepath.Join(t.TempDir(), "s")
	given, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := l.Serve(given, echo)
	if err != nil {
		t.Fatal(err)
	}
	f, err := given.(*net.UnixListener).File() // for the other process
	if err != nil {
		t.Fatal(err)
	}
	given.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	inherited, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	next, err := l.Serve(inherited, echo)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, next.Addr())
	next.Close() // does not remove what it did not make
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}

	os.Remove(path)
	if given, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	if ln, err = l.Serve(given, echo); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ln.Close()
	c := testkit.Dial(t, other.Addr())
	c.Close()
}
