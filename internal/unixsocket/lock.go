//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package unixsocket

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A lock file is held while a socket gets its file. The directory itself could be locked,
// without another file, but programs lock theirs for as long as they run, to keep
// systemd-tmpfiles away.

const (
	// lockRetry is how soon a lock that is taken is tried again. Others hold it for a few
	// system calls.
	lockRetry = 5 * time.Millisecond
	// lockTries bounds the wait, in case a process was stopped while it held the lock:
	// half a second. The caller may be an event loop.
	lockTries = 100
)

// lock makes other servers wait that want to listen at path.
func lock(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for range lockTries {
		const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		fd, err := unix.Open(name, flags|unix.O_CREAT, 0o644)
		if err == unix.EACCES {
			// Linux may forbid O_CREAT where another user has left the file behind
			// (fs.protected_regular).
			fd, err = unix.Open(name, flags, 0)
		}
		if err == unix.EINTR || err == unix.ENOENT && exists(filepath.Dir(name)) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(fd, name) {
			return func() {
				os.Remove(name) // before it is unlocked: then it is still ours
				unix.Close(fd)
			}, nil
		}
		unix.Close(fd)
		switch err {
		case nil, unix.EINTR: // its last owner has removed it
		case unix.EWOULDBLOCK:
			time.Sleep(lockRetry)
		default:
			return nil, &os.PathError{Op: "flock", Path: name, Err: err}
		}
	}
	return nil, fmt.Errorf("another process has held %s for %v", name, lockTries*lockRetry)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isAt reports whether name is still the file fd.
func isAt(fd int, name string) bool {
	var mine, there unix.Stat_t
	return unix.Fstat(fd, &mine) == nil && unix.Lstat(name, &there) == nil && mine.Dev == there.Dev && mine.Ino == there.Ino
}
