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
	local   sockaddr     // of its connections; nil: each has its own
	given   net.Listener // a Unix socket's, to be closed at the end
	tcp     bool
	handler Handler
	deal    func() *Loop // which loop is to serve a connection, nil if none can; nil: this one

	registered bool
	ready      bool // connections may wait
	parked     bool // not polled, because there was no room for a connection
	resting    bool // after an error that time may heal
	rest       timer
	last       int // connections still to be accepted before it is closed; 0: it is not being closed
	closed     atomic.Bool

	queue     *admission.Queue // of the kernel
	waiting   int              // connections in it, when last looked
	dropped   uint32           // that it did not take, by then
	backlog   int              // how many it may take when it is not made shorter; 0: unknown
	shortened bool
	reviews   timer
}

type acceptOutcome uint8

const (
	acceptDrained acceptOutcome = iota // none is left
	acceptNext                         // this one is gone, the next may do
	acceptLater                        // descriptors or memory have run out
	acceptFailed                       // the listener is of no use any more
)

// restInterval is how long a listener rests when the process or the system has
// no descriptor left. It ends early when a connection of the loop is closed.
const restInterval = 100 * time.Millisecond

// dealInterval is how soon a listener looks again whether another loop of its
// group has room.
const dealInterval = 5 * time.Millisecond

// Listen accepts connections at an address and runs h as a job for each.
// Networks are those of net.Listen that have connections: "tcp", "tcp4",
// "tcp6" and "unix". It may be called from any goroutine, before Run too: the
// kernel queues connections from now on.
func (l *Loop) Listen(network, address string, h Handler) (*Listener, error) {
	ln, err := listen(network, address, false)
	if err != nil {
		return nil, err
	}
	return l.adopt(ln, h, nil)
}

// Serve accepts connections from a listener of package net (given by systemd,
// say) and runs h as a job for each. It takes ln over, and closes it: at once,
// or when the Listener is closed if ln is a Unix socket's, which knows whether
// its file is to be removed then. It may be called from any goroutine.
func (l *Loop) Serve(ln net.Listener, h Handler) (*Listener, error) {
	return l.adopt(ln, h, nil)
}

// listen opens a listener, with reuse one of several at the same address.
func listen(network, address string, reuse bool) (net.Listener, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false) // its sockets have fewer options, and it is not free
	if reuse {
		lc.Control = func(_, _ string, rc syscall.RawConn) error { return setReusePort(rc) }
	}
	return lc.Listen(context.Background(), network, address)
}

// adopt takes a listener over. It closes ln, also if there is an error.
func (l *Loop) adopt(ln net.Listener, h Handler, deal func() *Loop) (*Listener, error) {
	if h == nil {
		ln.Close()
		return nil, errors.New("loop: nil Handler")
	}
	n := &Listener{l: l, addr: ln.Addr(), handler: h, deal: deal}
	n.rest.owner, n.reviews.owner = n, (*reviewTimer)(n)
	_, n.tcp = ln.(*net.TCPListener)
	n.queue = admission.New(l.cfg.MaxWait)
	fd, err := dupListener(ln)
	if err == nil && l.cfg.Backlog > 0 {
		if err = sysBacklog(fd, l.cfg.Backlog); err != nil {
			sysClose(fd)
		}
	}
	if _, ok := ln.(*net.UnixListener); ok && err == nil {
		n.given = ln
	} else if cerr := ln.Close(); err == nil && cerr != nil {
		// Left open, it would have the Go runtime wake up for every connection.
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

// register begins to accept, on the loop's goroutine.
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

// poll has the poller report connections. If it cannot, the listener rests,
// and tries again.
func (n *Listener) poll() {
	err := n.l.poller.add(n.fd, n.l.slots[n.fd].gen)
	n.parked = err != nil
	if n.parked {
		n.restFrom(err)
	}
}

// restFrom leaves the listener alone for a while.
func (n *Listener) restFrom(err error) {
	n.l.warn("cannot accept connections for now", slog.String("address", n.addr.String()), slog.Any("error", err))
	n.l.counts.AcceptsPaused++
	n.resting = true
	n.l.setTimer(&n.rest, n.l.after(restInterval))
}

// Addr returns the address the listener accepts at.
func (n *Listener) Addr() net.Addr { return n.addr }

// Close stops accepting, and does not wait for it: clients that have connected
// already are accepted before, as soon as there is room for them, but within 5
// seconds. Only then is the address free again. Connections that were accepted stay open. Close may be
// called from any goroutine.
func (n *Listener) Close() error {
	if n.closed.Swap(true) {
		return &net.OpError{Op: "close", Net: n.addr.Network(), Addr: n.addr, Err: net.ErrClosed}
	}
	n.l.send(message{call: n.lastCall}) // if the loop has ended, it has closed it
	return nil
}

// lastCallTimeout is how long a listener that is being closed waits for room.
const lastCallTimeout = 5 * time.Second

// maxLastCall is how many connections are accepted before a listener is closed,
// where the kernel does not tell how many there are.
const maxLastCall = 4096

// lastCall has the listener closed when those who wait have been accepted, but
// not who comes now.
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
	} else if !n.l.draining { // Shutdown has a context
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
	l.poller.remove(n.fd) // the process it came from may keep the socket open
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

// event is told that connections wait.
func (n *Listener) event() {
	n.ready = true
	if !n.parked && (n.resting || n.target() == nil) {
		// Every further connection would wake the loop to no purpose.
		n.parked = true
		n.l.counts.AcceptsPaused++
		n.l.poller.remove(n.fd)
	}
}

// target returns the loop that is to serve the next connection, nil if none has
// room for it.
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

// reserveRoom counts a connection that is to be accepted for l, unless it is full:
// other loops may accept for it at the same time.
func (l *Loop) reserveRoom() bool {
	if l.load.Add(1) > int64(l.cfg.MaxJobs) {
		l.load.Add(-1)
		return false
	}
	return true
}

// canAccept reports whether the listener is to accept. While new connections wait
// for the loop already, others wait in the kernel, where they cost less, and are
// not forgotten if another process listens too.
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
		l.now = l.clock() // of those who have come since, the kernel knows the age
	}
	for i := 0; i < len(l.listeners); i++ { // an accept may close its listener
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

// accept accepts a connection, and reports whether it is one to be served.
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
		n.ready = false
		n.kernelQueue(0)
		n.queue.Empty()
		if n.last > 0 {
			n.closeNow()
		}
	case acceptNext:
	case acceptLater:
		if n.l.closeLingering() > 0 {
			return false // their descriptors may do
		}
		n.restFrom(os.NewSyscallError("accept", err))
		if n.last > 0 { // it cannot wait for that
			n.closeNow()
		}
	case acceptFailed:
		n.fail(os.NewSyscallError("accept", err))
	}
	return false
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

// accepted decides about a new connection, and reports whether it is to be
// served. If so, the loop gets it that has reserved room for it.
func (n *Listener) accepted(to *Loop, fd int, remote sockaddr) bool {
	l := n.l
	l.counts.Accepted++
	entered := false
	defer func() { // also if a hook ends the goroutine
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
	d := deal{fd: fd, remote: remote, local: n.local, began: l.now - int64(age), tcp: n.tcp, handler: n.handler}
	if to == l {
		l.load.Add(-1) // if it gets a job, that counts
		l.serveAccepted(&d)
		return true
	}
	to.dealt.Add(1)
	if errors.Is(to.send(message{deal: &d}), ErrClosed) { // another error does not keep it from arriving
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
	began         int64 // when it was made; loops have one clock
	tcp           bool
	handler       Handler
}

// drop closes a connection that nobody will serve. l is the loop whose goroutine
// this is, or one that has ended.
func (d *deal) drop(l *Loop) {
	sysClose(d.fd)
	l.leave(d.remote)
}

func (l *Loop) takeDeal(d *deal) {
	l.dealt.Add(-1)
	l.load.Add(-1)
	l.serveAccepted(d)
}

func (l *Loop) serveAccepted(d *deal) {
	if d.local == nil {
		d.local = sysLocalAddr(d.fd) // now: a socket that was reset knows it no more, on some systems
	}
	c, err := l.newConn(d.fd, d.local, d.remote, d.tcp)
	if err != nil {
		l.warn("cannot serve a connection", slog.Any("error", err))
		l.leave(d.remote)
		return
	}
	c.counted = true
	c.began, c.waited = d.began, max(l.now-d.began, 0) // the other loop's turn may have begun later
	if h, ok := d.handler.(*TLSHandler); ok && h.valid() == nil {
		c.next = h.adopt(c) // without a job
		c.state.Store(connParked)
		c.rest()
		return
	}
	c.serve(d.handler)
}
