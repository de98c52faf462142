//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is the most bytes that the path of a socket may have: 107 on Linux, 103
// elsewhere. The kernel's structure also holds a NUL.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// CheckName says why name cannot be that of a socket, or returns nil.
func CheckName(name string) error {
	switch {
	case len(name) > maxPath:
		return fmt.Errorf("the path has %d bytes, and %s allows %d: %w", len(name), runtime.GOOS, maxPath, syscall.ENAMETOOLONG)
	case !isAbstract(name) && strings.IndexByte(name, 0) >= 0: // where the kernel would end it
		return fmt.Errorf("the path %q has a NUL byte: %w", name, syscall.EINVAL)
	}
	return nil
}

// Listen listens at a path. On Linux, a path that begins with "@" is an abstract name,
// which has no file.
//
// A file that is there already is replaced if it is a socket and no process has it open.
// Otherwise the error matches syscall.EADDRINUSE. mode is the permissions of the file; 0
// means those that the process's umask leaves. On Linux and most other systems, clients
// need write permission. Whatever the mode, nobody can connect before it is set.
//
// Servers that start at the same time take turns by a lock file in the same directory,
// which exists only meanwhile.
func Listen(path string, mode fs.FileMode, control Control) (*Listener, error) {
	ln, err := listen(path, mode, control)
	if err != nil {
		if opErr := (*net.OpError)(nil); errors.As(err, &opErr) { // package net's
			return nil, err
		}
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
	return ln, nil
}

// isAbstract reports whether a socket with this name has no file.
func isAbstract(path string) bool {
	return path == "" || runtime.GOOS == "linux" && (path[0] == '@' || path[0] == 0)
}

func listen(path string, mode fs.FileMode, control Control) (*Listener, error) {
	if err := CheckName(path); err != nil {
		return nil, err
	}
	if isAbstract(path) {
		lc := net.ListenConfig{Control: control}
		ln, err := lc.Listen(context.Background(), "unix", path)
		if err != nil {
			return nil, err
		}
		return Adopt(ln.(*net.UnixListener)), nil
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := socket(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener duplicates it
	if control != nil {
		rc, err := f.SyscallConn()
		if err == nil {
			err = control("unix", path, rc)
		}
		if err != nil {
			return nil, err
		}
	}
	fd := int(f.Fd())
	if err := bind(fd, path); err != nil {
		return nil, err
	}
	ln, err := start(f, path, mode)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return ln, nil
}

// start makes a socket that has its file listen.
func start(f *os.File, path string, mode fs.FileMode) (*Listener, error) {
	// Nobody can connect before listen(2), so there is no moment with other permissions.
	// A umask would be the whole process's, and fchmod(2) of a socket only works on Linux.
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			return nil, err
		}
	}
	if err := unix.Listen(int(f.Fd()), math.MaxUint16); err != nil { // the system has a limit of its own
		return nil, os.NewSyscallError("listen", err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	ul := ln.(*net.UnixListener)
	ul.SetUnlinkOnClose(true)
	return Adopt(ul), nil
}

// socket returns a socket that is closed on exec.
func socket(path string) (*os.File, error) {
	fd, err := newSocket(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func newSocket(kind int) (int, error) {
	syscall.ForkLock.RLock() // Darwin has no SOCK_CLOEXEC
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// bind gives a socket its file. A file that a server has left behind is replaced.
func bind(fd int, path string) error {
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == unix.EADDRINUSE {
		if err := removeStale(path); err != nil {
			return err
		}
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	return os.NewSyscallError("bind", err)
}

// removeStale removes the file at path if it is a socket that no process has open. It is
// called with the lock, so no other server of this package binds or removes meanwhile.
func removeStale(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.Mode().Type() != fs.ModeSocket {
		return inUse("it is not a socket (%v)", before.Mode())
	}
	switch err := probe(path); err {
	case unix.ENOENT:
		return nil
	case unix.ECONNREFUSED:
	case nil, unix.EPROTOTYPE:
		return inUse("another server is there")
	default:
		return inUse("it cannot be told whether a server is there: %v", err)
	}
	now, err := os.Lstat(path)
	if err == nil && !os.SameFile(before, now) {
		return inUse("another server has just come")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inUse("a server has left it behind, and it cannot be removed: %v", err)
	}
	return nil
}

func inUse(format string, args ...any) error {
	return os.NewSyscallError("bind", fmt.Errorf("%w: %s", syscall.EADDRINUSE, fmt.Sprintf(format, args...)))
}

// probe returns ECONNREFUSED if no process has the socket at path open.
//
// It connects a datagram socket. With a stream socket the answer would be the same for a
// server that has bound and does not listen yet, and on the BSDs for one whose queue is
// full. A socket of another kind is refused with EPROTOTYPE before that is looked at. And
// the server does not notice.
func probe(path string) error {
	fd, err := newSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}
