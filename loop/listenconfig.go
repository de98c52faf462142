package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/internal/unixsocket"
)

// ListenConfig has options for listening. The zero value is what Loop.Listen and
// Group.Listen use. Options of TCP are ignored for Unix sockets, and the other way
// round. How many clients may wait to be accepted is in Config.Backlog.
//
// An option that the system does not have is an error that matches
// errors.ErrUnsupported. A value that cannot be is ErrInvalidConfig. Both errors name
// the option.
type ListenConfig struct {
	// Control, if not nil, is called before the socket is bound, and after the options
	// below are set. It is that of net.ListenConfig. For a Group it is called for each
	// of its sockets.
	Control func(network, address string, c syscall.RawConn) error

	// KeepAlive is how long a TCP connection may be silent before the kernel probes
	// whether the peer is still there, and how long it waits for each answer. It is
	// rounded up to seconds; nine hours is the most. 0 means that the kernel does not
	// probe, because the idle timeout finds dead peers. Conn.SetKeepAlive changes that
	// for one connection. Not on OpenBSD.
	KeepAlive time.Duration

	// DeferAccept makes the kernel keep a TCP connection to itself until its client has
	// sent something (TCP_DEFER_ACCEPT), for about so long. It is rounded up to the
	// times at which the kernel repeats its answer to the client: 1 second, 3, 7 and so
	// on. 0 means that connections are accepted at once. It is for protocols in which
	// the client speaks first. Linux only.
	DeferAccept time.Duration

	// FastOpen is the most clients whose first bytes have come with their first packet
	// (TCP_FASTOPEN, RFC 7413) and that are not connected yet; 0 means that the kernel
	// accepts no such bytes. They may be repeated, by the network or by an attacker,
	// which TLS can bear. The system allows it by bit 2 of net.ipv4.tcp_fastopen; without
	// it, a warning is logged. Linux only.
	FastOpen int

	// FileMode is the permissions of a Unix socket's file. 0 means 0777 less what the
	// umask forbids. Clients need write permission. Nobody can connect before they are
	// set. Only the nine permission bits may be used.
	FileMode fs.FileMode
}

// Listen accepts connections at an address and runs h as a job for each. The network
// is "tcp", "tcp4", "tcp6" or "unix", as in net.Listen. Without a host, "tcp" means
// IPv4 and IPv6, and "tcp6" means IPv6 only, so that another server can have the port
// for IPv4.
//
// A Unix socket whose file is there already replaces it if a server that was killed has
// left it behind, that is, if it is a socket that no process has open. Otherwise the
// error matches syscall.EADDRINUSE. The path of a socket has 107 bytes at most on Linux,
// and 103 elsewhere. On Linux, a path that begins with "@" is a name without a file.
//
// Listen may be called from any goroutine, even before Run: the kernel queues
// connections from now on.
func (lc *ListenConfig) Listen(l *Loop, network, address string, h Handler) (*Listener, error) {
	s, err := lc.open(network, address, false)
	if err != nil {
		return nil, err
	}
	n, err := l.adopt(s, h, nil)
	if err != nil {
		s.ln.Close()
		return nil, err
	}
	n.warnBacklog()
	lc.warn(l, network)
	return n, nil
}

// ListenGroup is Listen for all loops of a group. On Linux, FreeBSD since 12 and
// DragonFly, each loop has its own TCP socket, and the kernel distributes the connections.
// A loop that has no job left passes its connections to another. On other systems, and for
// Unix sockets, one loop accepts all connections and distributes them.
func (lc *ListenConfig) ListenGroup(g *Group, network, address string, h Handler) (*GroupListener, error) {
	n, err := (*GroupListener)(nil), errNotEach
	if len(g.loops) > 1 && network != "unix" && reusePort != 0 {
		n, err = lc.listenEach(g, network, address, h)
	}
	if errors.Is(err, errNotEach) {
		n, err = lc.listenShared(g, network, address, h)
	}
	if err == nil {
		lc.warn(g.loops[0], network)
	}
	return n, err
}

// errNotEach says that the loops of a group cannot have a socket each.
var errNotEach = errors.New("loop: the system does not distribute connections")

// listenEach gives each loop a socket of its own.
func (lc *ListenConfig) listenEach(g *Group, network, address string, h Handler) (*GroupListener, error) {
	n := &GroupListener{}
	for _, l := range g.loops {
		s, err := lc.open(network, address, true)
		if err == nil {
			address = s.ln.Addr().String() // the first has chosen the port
			var a *Listener
			if a, err = l.adopt(s, h, func() *Loop { return g.roomFor(l) }); err == nil {
				n.listeners = append(n.listeners, a)
				continue
			}
			s.ln.Close()
		}
		for _, a := range n.listeners {
			a.abandon()
		}
		return nil, err
	}
	n.listeners[0].warnBacklog() // the others are like it
	return n, nil
}

// listenShared listens with one socket for all loops of a group.
func (lc *ListenConfig) listenShared(g *Group, network, address string, h Handler) (*GroupListener, error) {
	s, err := lc.open(network, address, false)
	if err != nil {
		return nil, err
	}
	n, err := g.share(s, h)
	if err != nil {
		s.ln.Close()
		return nil, err
	}
	return n, nil
}

// Listen accepts connections at an address and runs h as a job for each. The network is
// "tcp", "tcp4", "tcp6" or "unix", as in net.Listen. Listen may be called from any
// goroutine, even before Run: the kernel queues connections from now on. It is the Listen
// of a zero ListenConfig, where more is said, of Unix sockets among other things.
func (l *Loop) Listen(network, address string, h Handler) (*Listener, error) {
	return new(ListenConfig).Listen(l, network, address, h)
}

// Listen accepts connections at an address, as Loop.Listen does, for all loops of the
// group. It is the ListenGroup of a zero ListenConfig, which says how they share them.
func (g *Group) Listen(network, address string, h Handler) (*GroupListener, error) {
	return new(ListenConfig).ListenGroup(g, network, address, h)
}

// open opens a listening socket. With reuse it may be one of several at one address.
func (lc *ListenConfig) open(network, address string, reuse bool) (opened, error) {
	if err := lc.valid(); err != nil {
		return opened{}, err
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
	case "unix":
		ln, err := unixsocket.Listen(address, lc.FileMode, lc.Control)
		if err != nil {
			return opened{}, err
		}
		return opened{ln: ln}, nil
	default:
		return opened{}, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	nlc := net.ListenConfig{KeepAlive: -1} // package net would only set it for connections that it accepts
	nlc.SetMultipathTCP(false)             // MPTCP sockets have fewer options, and a cost
	nlc.Control = func(network, address string, rc syscall.RawConn) error {
		if err := lc.setOptions(rc, reuse); err != nil || lc.Control == nil {
			return err
		}
		return lc.Control(network, address, rc)
	}
	ln, err := nlc.Listen(context.Background(), network, address)
	if err != nil {
		return opened{}, err
	}
	return opened{ln: ln, ours: lc.Control == nil, keepAlive: lc.KeepAlive}, nil // Control may duplicate it
}

// maxOption is the most for the kernel's options that are times. Linux has the lowest
// limit, 32,767 seconds.
const maxOption = 9 * time.Hour

func (lc *ListenConfig) valid() error {
	for _, o := range []struct {
		name      string
		set       bool
		invalid   bool
		supported bool
		value     any
	}{
		{"KeepAlive", lc.KeepAlive != 0, lc.KeepAlive < 0 || lc.KeepAlive > maxOption, hasKeepAliveTime, lc.KeepAlive},
		{"DeferAccept", lc.DeferAccept != 0, lc.DeferAccept < 0 || lc.DeferAccept > maxOption, hasDeferAccept, lc.DeferAccept},
		{"FastOpen", lc.FastOpen != 0, lc.FastOpen < 0 || lc.FastOpen > math.MaxInt32, hasFastOpen, lc.FastOpen},
		{"FileMode", lc.FileMode != 0, lc.FileMode&^fs.ModePerm != 0, true, lc.FileMode},
	} {
		if o.invalid {
			return fmt.Errorf("%w: ListenConfig.%s is %v", ErrInvalidConfig, o.name, o.value)
		}
		if o.set && !o.supported {
			return fmt.Errorf("loop: ListenConfig.%s on %s: %w", o.name, runtime.GOOS, errors.ErrUnsupported)
		}
	}
	return nil
}

// setOptions sets a TCP socket's options, before it is bound.
func (lc *ListenConfig) setOptions(rc syscall.RawConn, reuse bool) error {
	if reuse {
		err := setReusePort(rc)
		if lacksOption(err) { // FreeBSD before 12
			return errNotEach
		}
		if err != nil {
			return err
		}
	}
	var err error
	set := func(name string, wanted bool, set func(fd int) error) {
		if err != nil || !wanted {
			return
		}
		var serr error
		if err = rc.Control(func(fd uintptr) { serr = set(int(fd)) }); err == nil && serr != nil {
			err = fmt.Errorf("ListenConfig.%s: %w", name, serr)
		}
	}
	set("KeepAlive", lc.KeepAlive > 0, func(fd int) error { return setKeepAliveTime(fd, lc.KeepAlive) })
	set("DeferAccept", lc.DeferAccept > 0, func(fd int) error { return setDeferAccept(fd, lc.DeferAccept) })
	set("FastOpen", lc.FastOpen > 0, func(fd int) error { return setFastOpen(fd, lc.FastOpen) })
	return err
}

// warn logs that the system does not do what it has accepted.
func (lc *ListenConfig) warn(l *Loop, network string) {
	if lc.FastOpen == 0 || network == "unix" {
		return
	}
	if why := fastOpenIsOff(); why != "" {
		l.log(slog.LevelWarn, "ListenConfig.FastOpen has no effect", slog.String("because", why))
	}
}
