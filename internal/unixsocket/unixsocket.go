// Package unixsocket listens at Unix sockets that have a file. What package net leaves
// to its users is done here: a file that a killed server has left behind is replaced, a
// file that belongs to another server is neither replaced nor removed, and permissions
// are set before anybody can connect.
package unixsocket

import (
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
)

// Listener is a listener whose Close removes the socket's file only if the file is still
// its own.
type Listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // the file of the socket; nil if it has none

	mu     sync.Mutex
	closed bool
}

// Control is that of net.ListenConfig.
type Control func(network, address string, c syscall.RawConn) error

// Adopt returns a Listener for a listener of package net. Close does what was chosen with
// SetUnlinkOnClose, except that it leaves another server's file alone.
func Adopt(ln *net.UnixListener) *Listener {
	path := ln.Addr().String()
	return &Listener{UnixListener: ln, path: path, file: fileOf(path)}
}

// fileOf returns the file at path, or nil.
func fileOf(path string) fs.FileInfo {
	if isAbstract(path) {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return info
}

// Close closes the listener. It removes the file first: as long as the socket is open,
// its inode is in use, so no other file can have the same number. That does not hold for
// a second Close, which must not look at the file.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.UnixListener.Close() // says so
	}
	l.closed = true
	if now := fileOf(l.path); l.file == nil || now == nil || !os.SameFile(l.file, now) {
		l.SetUnlinkOnClose(false)
	}
	return l.UnixListener.Close()
}
