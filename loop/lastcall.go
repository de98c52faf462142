package loop

import (
	"log/slog"
	"net"
	"time"

	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// How a listener ends. Clients that have connected by then wait in the kernel's
// queue, and are still served. The two ends differ in who waits for what:
//
//   - After Close, the address must be free, so Close takes the connections out of
//     the queue and closes the socket, on whatever goroutine it is called. The loop
//     then serves them as it has room.
//   - In a Shutdown nobody waits for the address, so the connections stay in the
//     kernel, where they cost less, until there is room.

// arrival is a connection that has been accepted, and that no loop knows of yet.
type arrival struct {
	fd     int
	remote sockaddr
}

const (
	// lastCallTimeout is how long connections that are left after Close wait for
	// room.
	lastCallTimeout = 5 * time.Second
	// maxLastCall is the most connections that are taken out of the kernel's queue,
	// where the kernel does not report how many there are.
	maxLastCall = 4096
)

// Close stops accepting connections. When it returns, the address is free: another
// listener can be opened there, unless another process has the same socket. (If the
// listener came from Serve or has a Control function, and on macOS and the BSDs, the
// system may need another moment when the loop is just accepting.) If the socket has a
// file, Close removes it, provided that it is still the socket's own;
// see Loop.Serve for those that were given to the loop.
//
// Clients that have already connected are still served, as soon as there is room for
// them but within 5 seconds. Until then each needs a descriptor; those for which there
// is none are reset. Accepted connections stay open.
//
// Close may be called from any goroutine, also inside a job, before Run, and after the
// loop has ended. It does not wait for the loop. If the listener is closed already, it
// returns net.ErrClosed.
func (n *Listener) Close() error {
	did, err := n.shut(true)
	if did {
		n.l.send(message{listen: n}) // a loop that has ended has released the listener
	} else {
		err = net.ErrClosed
	}
	if err != nil {
		return &net.OpError{Op: "close", Net: n.addr.Network(), Addr: n.addr, Err: err}
	}
	return nil
}

// abandon is Close without serving those who have connected.
func (n *Listener) abandon() {
	n.shut(false)
	n.l.send(message{listen: n})
}

// shut closes the socket, on any goroutine, and reports whether it was open. With
// keep it first takes the connections that wait in the kernel, for serveLeft.
//
// The loop's goroutine may be about to use n.fd. So the number is not freed here, but
// made to stand for something of which nothing can be accepted: the poller. The poller
// is open, because a loop closes it after all of its listeners.
func (n *Listener) shut(keep bool) (did bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone.Load() {
		return false, nil
	}
	n.gone.Store(true)
	if n.file != nil {
		n.file.Close() // before the last call: nobody can connect now
	}
	if keep && n.l.stopping.Load() != stopNow {
		n.takeWaiting()
	}
	if n.shortened { // another process may keep the socket
		sysBacklog(n.fd, n.backlog)
	}
	if n.ours && n.tcp {
		// The loop's thread may be inside accept(2), and that would keep the socket
		// open for another moment. On Linux, this stops it from listening at once.
		sysShutdown(n.fd, false)
	}
	n.l.poller.remove(n.fd) // if another process keeps the socket, closing it here would not
	return true, sysReplace(n.fd, n.l.poller.fd)
}

// takeWaiting takes the connections out of the kernel's queue. Those for which there
// are no descriptors stay there, and are reset when the socket is closed.
func (n *Listener) takeWaiting() {
	if n.backlog > 0 {
		sysBacklog(n.fd, 1) // or others might keep coming
		n.shortened = true
	}
	most := maxLastCall
	if q, ok := tcpinfo.QueueOf(n.fd); ok {
		most = q.Waiting
	}
	for range most {
		fd, remote, err := n.take()
		if err == nil {
			n.left = append(n.left, arrival{fd, remote})
		} else if acceptError(err) != acceptNext {
			return
		}
	}
}

// hasLeft reports whether Close has taken connections that serveLeft does not know of yet.
func (n *Listener) hasLeft() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.left) > 0
}

// serveLeft begins to serve the connections that are left after Close, on the loop's
// goroutine.
func (n *Listener) serveLeft() {
	n.mu.Lock()
	n.serving = append(n.serving, n.left...)
	n.left = nil
	released := n.released
	n.mu.Unlock()
	l := n.l
	switch {
	case released:
		return
	case len(n.serving) == 0:
		n.closeNow()
		return
	case !n.registered: // it was closed before the loop knew of it
		n.registered = true
		l.listeners = append(l.listeners, n)
	}
	l.stopTimer(&n.rest)
	n.ready, n.resting, n.last = true, false, 0
	n.kernelQueue(0)
	if !l.draining {
		l.setTimer(&n.reviews, l.after(lastCallTimeout))
	}
}

// takeLeft takes the first of the connections that are left, and reports whether it
// will be served.
func (n *Listener) takeLeft() bool {
	to := n.target()
	if len(n.serving) == 0 || to == nil || !to.reserveRoom() {
		return false
	}
	a := n.serving[0]
	n.serving = n.serving[1:]
	defer func() { // even if a hook ends the goroutine
		if len(n.serving) == 0 {
			n.closeNow()
		}
	}()
	return n.accepted(to, a.fd, a.remote)
}

// release closes what the listener still has. It may be called more than once. The
// loop does not know the listener any more.
func (n *Listener) release() {
	n.shut(false)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.released {
		return
	}
	n.released = true
	sysClose(n.fd)
	if len(n.serving) > 0 && !n.l.ShuttingDown() {
		n.l.warn("connections reset: they had come before the listener was closed, and there was no room for them in time",
			slog.String("address", n.addr.String()), slog.Int("connections", len(n.serving)))
	}
	for _, a := range append(n.left, n.serving...) {
		sysAbort(a.fd)
		sysClose(a.fd)
	}
	n.left, n.serving = nil, nil
}

// lastCall makes a loop that shuts down close the listener once the connections that
// now wait have been accepted. Later ones are not accepted.
func (n *Listener) lastCall() {
	if !n.registered || n.last > 0 || n.gone.Load() {
		return
	}
	n.setBacklog(1)
	n.ready, n.last = true, maxLastCall
	if q, ok := tcpinfo.QueueOf(n.fd); ok {
		n.last = q.Waiting
	}
	if n.last == 0 {
		n.closeNow()
	}
}
