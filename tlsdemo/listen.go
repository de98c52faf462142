package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/loop"
)

// splitAddr tells "unix:PATH" from "HOST:PORT".
func splitAddr(addr string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("%q names no file", addr)
		}
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("%q is neither HOST:PORT nor unix:PATH", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("%q: the port is not a number up to 65535", addr)
	}
	return "tcp", addr, nil
}

// listen begins to accept connections at the address. If systemd passed a socket
// to the process, listen uses that instead.
func listen(g *loop.Group, addr string, h loop.Handler) (*loop.GroupListener, error) {
	if ln, err := systemdListener(); ln != nil || err != nil {
		if err != nil {
			return nil, err
		}
		n, err := g.Serve(ln, h)
		if err != nil {
			ln.Close()
		}
		return n, err
	}
	network, address, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	if network == "tcp" && len(g.Loops()) > 1 {
		// Several loops listen at the same address (SO_REUSEPORT). The kernel
		// would let another program of the same user join them, so make sure
		// that the address is free.
		ln, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		ln.Close()
	}
	return g.Listen(network, address, h)
}

// systemdListener returns the socket that systemd passed by socket activation
// (sd_listen_fds(3)). It returns nil if there is none.
func systemdListener() (net.Listener, error) {
	const first = 3 // SD_LISTEN_FDS_START
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("socket activation with LISTEN_FDS=%s: exactly one socket is expected", n)
	}
	f := os.NewFile(first, "LISTEN_FDS")
	defer f.Close() // FileListener duplicates the descriptor
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket activation: %w", err)
	}
	return ln, nil
}
