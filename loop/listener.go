package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/tcpinfo"
)

// Listener accepts connections for a loop. It is made by Loop.Listen and
// Loop.Serve.
type Listener struct {
	l       *Loop
	fd      int
	addr    net.Addr
	local   sockaddr     // the local address of its connections; nil: they differ
	given   net.Listener // a Unix listener from the user, closed at the end
	tcp     bool
	handler Handler
	deal    func() *Loop // returns the loop to serve the next connection, nil if none can; if deal is nil, l does

	registered bool
	ready      bool // connections may be waiting
	parked     bool // not polled, because there was no room for a connection
	resting    bool // after an error that may go away with time
	rest       timer
	failures   int // of accept, one after the other
	last       int // connections still to be accepted before it is closed; 0: it is not being closed
	closed     atomic.Bool

	queue     *admission.Queue // decides about the kernel's queue
	waiting   int              // length of the kernel's queue when last checked
	dropped   uint32           // connections the kernel had dropped by then
	backlog   int              // full length of the kernel's queue; 0: unknown
	shortened bool
	reviews   timer
}

type acceptOutcome uint8

const (
	acceptDrained acceptOutcome = iota // no connection is waiting
	acceptNext                         // this connection failed, the next may work
	acceptLater                        // descriptors or memory have run out
	acceptFailed                       // the listener is of no use any more
)

// restInterval is how long a listener rests when the process or the system has
// run out of descriptors. The rest ends early when a connection of the loop is
// closed.
const restInterval = 100 * time.Millisecond

// maxFailures is how many accepts in a row may fail because of their connections.
// After that the listener rests: it may be the system that forbids each of them
// (EPERM or EACCES of a firewall or a security module), and a loop that goes on
// would never sleep.
const maxFailures = 256

// dealInterval is how often a listener checks whether another loop of its group
// has room.
const dealInterval = 5 * time.Millisecond

// Listen accepts connections at an address and runs h as a job for each. The
// network is "tcp", "tcp4", "tcp6" or "unix", as in net.Listen. Listen may be
// called from any goroutine, even before Run: the kernel queues connections from
// now on.
func (l *Loop) Listen(network, address string, h Handler) (*Listener, error) {
	ln, err := listen(network, address, false)
	if err != nil {
		return nil, err
	}
	return l.adopt(ln, h, nil)
}

// Serve accepts connections from a listener of package net, such as one passed by
// systemd, and runs h as a job for each. It takes over ln and closes it. A TCP
// listener is closed at once. A Unix listener is closed together with the
// Listener, because it may have to remove its socket file then. Serve may be
// called from any goroutine.
func (l *Loop) Serve(ln net.Listener, h Handler) (*Listener, error) {
	return l.adopt(ln, h, nil)
}

// listen opens a listener. With reuse it may be one of several at one address.
func listen(network, address string, reuse bool) (net.Listener, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false) // MPTCP sockets have fewer options, and a cost
	if reuse {
		lc.Control = func(_, _ string, rc syscall.RawConn) error { return setReusePort(rc) }
	}
	return lc.Listen(context.Background(), network, address)
}

// adopt takes over a listener. It closes ln, even on an error.
func (l *Loop) adopt(ln net.Listener, h Handler, deal func() *Loop) (*Listener, error) {
	if h == nil {
		ln.Close()
		return nil, errors.New("loop: nil Handler")
	}
	n := &Listener{l: l, addr: ln.Addr(), handler: h, deal: deal}
	n.rest.owner, n.reviews.owner = n, (*reviewTimer)(n)
	_, n.tcp = ln.(*net.TCPListener)
	n.queue = admission.New(l.cfg.MaxWait)
	fd, err := dupSocket(ln)
	if err == nil && l.cfg.Backlog > 0 {
		if err = sysBacklog(fd, l.cfg.Backlog); err != nil {
			sysClose(fd)
		}
	}
	if _, ok := ln.(*net.UnixListener); ok && err == nil {
		n.given = ln
	} else if cerr := ln.Close(); err == nil && cerr != nil {
		// Left open, it would wake the Go runtime for every connection.
		sysClose(fd)
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("loop: listen on %v: %w", n.addr, err)
	}
	n.fd = fd
	if a := sysLocalAddr(fd); a != nil && !isWildcard(a) {
		n.local = a
	}
	if n.tcp && acceptInherits { // accepted sockets inherit it
		setNoDelay(fd, true)
	}
	if err := l.send(message{listen: n}); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

// register starts accepting, on the loop's goroutine.
func (n *Listener) register() {
	l := n.l
	if l.ending {
		n.closed.Store(true)
		n.release()
		return
	}
	s := l.claim(n.fd)
	s.ln = n
	n.registered, n.ready = true, true
	if q, ok := tcpinfo.QueueOf(n.fd); ok {
		n.backlog, n.dropped = q.Limit, q.Dropped
	}
	l.listeners = append(l.listeners, n)
	n.poll()
	if n.closed.Load() || l.draining {
		n.lastCall()
	}
}

// poll makes the poller report connections. If that fails, the listener rests
// and tries again.
func (n *Listener) poll() {
	err := n.l.poller.add(n.fd, n.l.slots[n.fd].gen)
	n.parked = err != nil
	if n.parked {
		n.restFrom(err)
	}
}

// restFrom makes the listener rest after err.
func (n *Listener) restFrom(err error) {
	n.l.warn("cannot accept connections for now", slog.String("address", n.addr.String()), slog.Any("error", err))
	n.l.counts.AcceptsPaused++
	n.resting = true
	n.l.setTimer(&n.rest, n.l.after(restInterval))
}

// Addr returns the address at which the listener accepts.
func (n *Listener) Addr() net.Addr { return n.addr }

// Close stops accepting new connections. It does not wait, and may be called from
// any goroutine. Clients that have already connected are still accepted, as soon
// as there is room for them but within 5 seconds. The address is free only after
// that. Accepted connections stay open.
func (n *Listener) Close() error {
	if n.closed.Swap(true) {
		return &net.OpError{Op: "close", Net: n.addr.Network(), Addr: n.addr, Err: net.ErrClosed}
	}
	n.l.send(message{call: n.lastCall}) // a loop that has ended has closed the listener
	return nil
}

// lastCallTimeout is how long a listener that is being closed waits until there
// is room for the clients that have connected.
const lastCallTimeout = 5 * time.Second

// maxLastCall is the most connections that are accepted before a listener is
// closed, where the kernel does not report how many are waiting.
const maxLastCall = 4096

// lastCall closes the listener after the connections that now wait have been
// accepted. Later ones are not accepted.
func (n *Listener) lastCall() {
	n.closed.Store(true)
	if !n.registered || n.last > 0 {
		return
	}
	n.setBacklog(1)
	n.ready, n.last = true, maxLastCall
	if q, ok := tcpinfo.QueueOf(n.fd); ok {
		n.last = q.Waiting
	}
	if n.last == 0 {
		n.closeNow()
	} else if !n.l.draining { // Shutdown's context bounds a shutdown
		n.l.setTimer(&n.reviews, n.l.after(lastCallTimeout))
	}
}

// closeNow closes the listener, on the loop's goroutine.
func (n *Listener) closeNow() {
	n.closed.Store(true)
	if !n.registered {
		return
	}
	n.registered, n.ready = false, false
	l := n.l
	l.listeners = slices.DeleteFunc(l.listeners, func(o *Listener) bool { return o == n })
	l.stopTimer(&n.rest)
	l.stopTimer(&n.reviews)
	n.kernelQueue(0)
	if n.shortened {
		n.setBacklog(0)
	}
	l.poller.remove(n.fd) // another process may keep the socket open
	l.claim(n.fd)
	n.release()
}

func (n *Listener) release() {
	sysClose(n.fd)
	if n.given != nil {
		n.given.Close()
	}
}

func (l *Loop) closeListeners() {
	for len(l.listeners) > 0 {
		l.listeners[0].closeNow()
	}
}

// event is called when connections are waiting.
func (n *Listener) event() {
	n.ready = true
	if !n.parked && (n.resting || n.target() == nil) {
		// Otherwise every further connection would wake the loop for nothing.
		n.parked = true
		n.l.counts.AcceptsPaused++
		n.l.poller.remove(n.fd)
	}
}

// target returns the loop that will serve the next connection, or nil if none
// has room for it.
func (n *Listener) target() *Loop {
	switch {
	case n.deal != nil:
		return n.deal()
	case n.l.hasRoom():
		return n.l
	}
	return nil
}

// hasRoom reports whether a new connection would find a job.
func (l *Loop) hasRoom() bool { return l.load.Load()+int64(l.reserve()) < int64(l.cfg.MaxJobs) }

// reserveRoom counts a connection that is about to be accepted for l, unless l is
// full. It is atomic because other loops may accept for l at the same time.
func (l *Loop) reserveRoom() bool {
	if l.load.Add(1) > int64(l.cfg.MaxJobs) {
		l.load.Add(-1)
		return false
	}
	return true
}

// canAccept reports whether the listener should accept a connection. While
// accepted connections wait for the loop, others are left in the kernel. They
// cost less there, and another process that shares the socket can take them.
func (n *Listener) canAccept() bool {
	if !n.ready || n.resting {
		return false
	}
	to := n.target()
	return to != nil && (to != n.l || to.fresh.n <= to.accepts())
}

func (l *Loop) canAccept() bool {
	for _, n := range l.listeners {
		if n.canAccept() {
			return true
		}
	}
	return false
}

// acceptAll accepts a bounded number of connections from each listener.
func (l *Loop) acceptAll() {
	if len(l.listeners) > 0 {
		l.now = l.clock() // ages are measured back from now
	}
	for i := 0; i < len(l.listeners); i++ { // accept may close its listener
		n := l.listeners[i]
		n.review()
		budget, turnedAway := l.accepts(), 0
		for budget > 0 && turnedAway < maxTurnedAway && n.canAccept() {
			if n.accept() {
				budget--
			} else {
				turnedAway++
			}
		}
	}
}

// waitsForOthers reports whether a listener could accept if another loop had room.
func (l *Loop) waitsForOthers() bool {
	for _, n := range l.listeners {
		if n.deal != nil && n.ready && !n.resting && n.target() == nil {
			return true
		}
	}
	return false
}

// accept accepts a connection, and reports whether it will be served.
func (n *Listener) accept() bool {
	if n.parked {
		if n.poll(); n.parked {
			return false
		}
	}
	to := n.target()
	if to == nil || !to.reserveRoom() {
		return false // another loop was quicker
	}
	fd, remote, err := accept(n.fd)
	if err == nil {
		n.failures = 0
		served := n.accepted(to, fd, remote)
		if n.last > 0 {
			if n.last--; n.last == 0 {
				n.closeNow()
			}
		}
		return served
	}
	to.load.Add(-1)
	switch acceptError(err) {
	case acceptDrained:
		n.ready, n.failures = false, 0
		n.kernelQueue(0)
		n.queue.Empty()
		if n.last > 0 {
			n.closeNow()
		}
	case acceptNext:
		if n.failures++; n.failures < maxFailures {
			return false
		}
		n.failures = 0
		n.giveUp(os.NewSyscallError("accept", err))
	case acceptLater:
		if n.l.closeLingering() > 0 {
			return false // their descriptors may be enough
		}
		n.giveUp(os.NewSyscallError("accept", err))
	case acceptFailed:
		n.fail(os.NewSyscallError("accept", err))
	}
	return false
}

// giveUp stops accepting for a while.
func (n *Listener) giveUp(err error) {
	n.restFrom(err)
	if n.last > 0 { // a listener that is being closed does not wait
		n.closeNow()
	}
}

func (n *Listener) fail(err error) {
	n.l.log(slog.LevelError, "listener failed", slog.String("address", n.addr.String()), slog.Any("error", err))
	n.closeNow()
}

// expire ends a rest.
func (n *Listener) expire(int64) { n.resting = false }

// descriptorFreed ends the rest of listeners that ran out of descriptors.
func (l *Loop) descriptorFreed() {
	for _, n := range l.listeners {
		if n.resting {
			n.resting = false
			l.stopTimer(&n.rest)
		}
	}
}

// accepted decides about a new connection, and reports whether it will be served.
// If so, it is given to the loop to, where room has been reserved.
func (n *Listener) accepted(to *Loop, fd int, remote sockaddr) bool {
	l := n.l
	l.counts.Accepted++
	entered := false
	defer func() { // runs even if a hook ends the goroutine
		if !entered {
			to.load.Add(-1)
			sysAbort(fd)
			sysClose(fd)
		}
	}()
	age, ok := n.admit(fd)
	if !ok {
		return false
	}
	if entered = l.enter(remote); !entered {
		n.queue.Refused()
		return false
	}
	if n.tcp && !acceptInherits {
		setNoDelay(fd, true)
	}
	local := n.local
	if local == nil {
		// Now, because on NetBSD and macOS a TCP socket forgets it after a reset
		// (getsockname: EINVAL). If it has, the listener's says the port at least.
		if local = sysLocalAddr(fd); local == nil {
			local = sysLocalAddr(n.fd)
		}
	}
	d := deal{fd: fd, remote: remote, local: local, began: l.now - int64(age), tcp: n.tcp, handler: n.handler}
	if to == l {
		l.load.Add(-1) // if it gets a job, the job is counted instead
		l.serveAccepted(&d)
		return true
	}
	to.dealt.Add(1)
	if errors.Is(to.send(message{deal: &d}), ErrClosed) { // despite any other error it has arrived
		to.dealt.Add(-1)
		to.load.Add(-1)
		d.drop(l)
	}
	return true
}

// deal is a connection on its way from the loop that accepted it to the one
// that will serve it.
type deal struct {
	fd            int
	local, remote sockaddr
	began         int64 // when it was made; all loops share one clock
	tcp           bool
	attached      bool // given to the loop by Attach: it counts nowhere
	handler       Handler
}

// drop closes a connection that nobody will serve. l is the loop of the calling
// goroutine, or a loop that has ended.
func (d *deal) drop(l *Loop) {
	sysClose(d.fd)
	if !d.attached {
		l.leave(d.remote)
	}
}

func (l *Loop) takeDeal(d *deal) {
	if !d.attached {
		l.dealt.Add(-1)
		l.load.Add(-1)
	}
	l.serveAccepted(d)
}

func (l *Loop) serveAccepted(d *deal) {
	if d.local == nil { // it was attached
		d.local = sysLocalAddr(d.fd)
	}
	c, err := l.newConn(d.fd, d.local, d.remote, d.tcp)
	if err != nil {
		l.warn("cannot serve a connection", slog.Any("error", err))
		if !d.attached {
			l.leave(d.remote)
		}
		return
	}
	c.counted = !d.attached
	c.began, c.waited = d.began, max(l.now-d.began, 0) // the other loop's turn may have begun later
	if h, ok := d.handler.(*TLSHandler); ok && h.valid() == nil {
		c.next = h.adopt(c) // without a job
		c.state.Store(connParked)
		c.rest()
		return
	}
	c.serve(d.handler)
}
