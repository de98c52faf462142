//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
)

// Listen is that of package net: nothing more is known about this system.
func Listen(path string, mode fs.FileMode, control Control) (*Listener, error) {
	if mode != 0 {
		return nil, fmt.Errorf("listen unix %s: cannot set the mode: %w", path, errors.ErrUnsupported)
	}
	lc := net.ListenConfig{Control: control}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return Adopt(ln.(*net.UnixListener)), nil
}

func isAbstract(string) bool { return false }

// CheckName says nothing here.
func CheckName(string) error { return nil }
