package loop

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/unixsocket"
)

// Listener accepts connections for a loop. It is made by Loop.Listen, Loop.Serve
// and ListenConfig.Listen.
type Listener struct {
	l         *Loop
	fd        int // a descriptor of the socket until shut; it stays taken until release
	addr      net.Addr
	local     sockaddr // the local address of its connections; nil: they differ
	tcp       bool
	ours      bool          // no other process can have the socket
	keepAlive time.Duration // that of ListenConfig
	backlog   int           // full length of the kernel's queue; 0: unknown
	handler   Handler
	deal      func() *Loop // returns the loop to serve the next connection, nil if none can; if deal is nil, l does

	mu        sync.Mutex           // guards the socket, which any goroutine may close; see shut
	gone      atomic.Bool          // the socket is closed
	file      *unixsocket.Listener // of a Unix socket, with its file; nil for TCP
	shortened bool                 // the kernel's queue is
	left      []arrival            // connections taken from the kernel's queue by shut
	released  bool                 // fd is closed

	// The rest belongs to the loop's goroutine.

	registered bool
	ready      bool // connections may be waiting
	parked     bool // not polled, because there was no room for a connection
	resting    bool // after an error that may go away with time
	rest       timer
	failures   int       // of accept, one after the other
	last       int       // connections still to be accepted before a shutdown closes it; 0: none does
	serving    []arrival // those left, after Close

	queue   *admission.Queue // decides about the kernel's queue
	waiting int              // length of the kernel's queue when last checked
	dropped uint32           // connections the kernel had dropped by then
	reviews timer
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

// update is called on the loop's goroutine when the listener is new, and when its
// socket has been closed.
func (n *Listener) update() {
	switch {
	case n.l.ending:
		n.release()
	case n.gone.Load():
		n.serveLeft()
	default:
		n.register()
	}
}

// register starts accepting, on the loop's goroutine.
func (n *Listener) register() {
	l := n.l
	s := l.claim(n.fd)
	s.ln = n
	n.registered, n.ready = true, true
	l.listeners = append(l.listeners, n)
	n.poll()
	if l.draining {
		n.lastCall()
	}
}

// poll makes the poller report connections. If that fails, the listener rests
// and tries again.
func (n *Listener) poll() {
	var err error
	n.withSocket(func() { err = n.l.poller.add(n.fd, n.l.slots[n.fd].gen) })
	n.parked = err != nil
	if n.parked {
		n.restFrom(err)
	}
}

// withSocket calls f unless the socket has been closed, and keeps it open meanwhile.
func (n *Listener) withSocket(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.gone.Load() {
		f()
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

// closeNow closes the listener, on the loop's goroutine. Clients that wait are reset.
func (n *Listener) closeNow() {
	n.shut(false)
	if n.hasLeft() && !n.l.ending {
		n.last = 0
		return // Close has come in between, and its message will: then they are served
	}
	if n.registered {
		n.registered, n.ready = false, false
		l := n.l
		l.listeners = slices.DeleteFunc(l.listeners, func(o *Listener) bool { return o == n })
		l.stopTimer(&n.rest)
		l.stopTimer(&n.reviews)
		n.kernelQueue(0)
		l.claim(n.fd)
	}
	n.release()
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
		n.withSocket(func() { n.l.poller.remove(n.fd) })
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
	if !n.ready || n.resting || n.gone.Load() && len(n.serving) == 0 {
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
			if n.next() {
				budget--
			} else {
				turnedAway++
			}
		}
	}
}

// next accepts a connection, or takes one of those left after Close. It reports
// whether it will be served.
func (n *Listener) next() bool {
	if n.gone.Load() {
		return n.takeLeft()
	}
	return n.accept()
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
	fd, remote, err := n.take()
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

// take is accept(2). If another descriptor stands for the socket, in this process or in
// another, it may have been made blocking there: os.File.Fd does that.
func (n *Listener) take() (int, sockaddr, error) {
	if !n.ours {
		sysNonblock(n.fd)
	}
	return accept(n.fd)
}

// giveUp stops accepting for a while.
func (n *Listener) giveUp(err error) {
	n.restFrom(err)
	if n.last > 0 { // a listener that is being closed does not wait
		n.closeNow()
	}
}

// fail closes a listener that is of no use any more.
func (n *Listener) fail(err error) {
	if n.gone.Load() { // Close has come in between
		return
	}
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
		if n.keepAlive > 0 {
			setKeepAliveTime(fd, n.keepAlive)
		}
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
		l.serveAccepted(&d)
		l.load.Add(-1) // if it has got a job, the job is counted instead
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
		defer l.load.Add(-1) // not before its job is counted, or others would see room
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
