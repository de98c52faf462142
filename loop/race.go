package loop

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// How Dial makes a connection to one of several addresses. One job waits for all
// attempts.

const (
	// attemptDelay is what RFC 8305, section 5, recommends.
	attemptDelay = 250 * time.Millisecond
	// maxAttempts is how many attempts one Dial has at a time. With the usual delay
	// there are as many after two seconds.
	maxAttempts = 8
	// maxAddresses is how many addresses of a name are tried. The others are left out.
	maxAddresses = 64
	// minShare is the least time for an attempt that others wait for, as long as there
	// is that much. Package net has the same.
	minShare = 2 * time.Second
	// maxRetries is how often an attempt is made again because the kernel has chosen
	// a port to connect from that is of no use. Package net has the same.
	maxRetries = 2
)

// race is the attempts of one Dial.
type race struct {
	ctx     context.Context
	t       *task
	network string
	source  net.Addr // for errors
	limit   int64    // of all attempts
	width   int      // how many attempts there may be at a time
	delay   time.Duration
	next    int64    // when the next attempt begins, if there is room
	waiting []target // not tried yet
	more    *lookup  // of further addresses, or nil
	begun   []target // while there is more
	running []*attempt
	failed  dialErrors
}

// target is an address to connect to, and the one to connect from, nil if the kernel is
// to choose it. anyPort says that the kernel chooses the port.
type target struct {
	remote, local sockaddr
	anyPort       bool
}

func (t target) same(other target) bool { return sameAddr(t.remote, other.remote) }

// attempt is a socket that is being connected.
type attempt struct {
	target
	c       *Conn
	end     int64 // when it is given up
	retries int
	waiter  waiter
}

// pace decides how many addresses are tried at a time.
func (r *race) pace(d *Dialer) {
	r.width, r.delay = maxAttempts, d.FallbackDelay
	if r.delay == 0 {
		r.delay = attemptDelay
	}
	if r.delay < 0 || !r.waiting[0].anyPort || r.t.job.PauseBlocked() {
		r.width = 1
	}
}

// run returns the first connection that is made.
func (r *race) run() (*Conn, error) {
	defer r.stop() // also after a panic or runtime.Goexit
	defer r.t.resumeAfter(r.ctx)()
	for {
		now := r.t.loop.clock()
		if err := r.ctx.Err(); err != nil {
			return nil, r.giveUp(err)
		}
		if r.limit <= now {
			return nil, r.giveUp(r.timedOut())
		}
		r.take()
		r.begin(now)
		c, failed := r.look(now)
		switch {
		case c != nil:
			return c, nil
		case failed: // so there may be room for the next
		case len(r.running) == 0 && r.more == nil:
			return nil, r.err()
		default:
			if err := r.wait(); err != nil {
				return nil, r.giveUp(err)
			}
		}
	}
}

// take takes the addresses that have been found meanwhile.
func (r *race) take() {
	for r.more != nil && len(r.more.answers) > 0 {
		found, all, err := r.more.take()
		switch {
		case err == nil:
			if all { // in the resolver's order
				r.waiting = nil
			}
			for _, t := range found {
				if !slices.ContainsFunc(r.begun, t.same) && !slices.ContainsFunc(r.waiting, t.same) {
					r.waiting = append(r.waiting, t)
				}
			}
		case all:
			r.fail(nil, err)
		}
		if all {
			r.more.close()
			r.more = nil
		}
	}
}

// begin begins the attempts that are due.
func (r *race) begin(now int64) {
	for len(r.waiting) > 0 && len(r.running) < r.width && (len(r.running) == 0 || r.next <= now) {
		a := &attempt{target: r.waiting[0], end: now + r.share(now)}
		a.waiter.task = r.t
		r.waiting = r.waiting[1:]
		if r.more != nil {
			r.begun = append(r.begun, a.target)
		}
		if err := a.open(); err != nil {
			r.fail(a.remote, err)
			continue
		}
		r.running = append(r.running, a)
		r.next = r.t.loop.after(r.delay)
	}
}

// share returns how much of the time left the first of r.waiting may take.
func (r *race) share(now int64) int64 {
	left := r.limit - now
	rounds := (len(r.waiting) + r.width - 1) / r.width
	return min(left, max(left/int64(rounds), int64(minShare)))
}

// look returns a connection that has been made, or whether an attempt has failed.
func (r *race) look(now int64) (_ *Conn, failed bool) {
	for i := 0; i < len(r.running); {
		a := r.running[i]
		done, err := a.look()
		if !done && err == nil && a.end <= now {
			err = os.ErrDeadlineExceeded
		}
		if !done && err == nil {
			i++
			continue
		}
		r.running = slices.Delete(r.running, i, i+1)
		if done {
			a.c.wr.remove(&a.waiter)
			return a.c, false
		}
		a.close()
		r.fail(a.remote, err)
		failed = true
	}
	return nil, failed
}

// wait waits until something may have happened, or it is time for something.
func (r *race) wait() error {
	l := r.t.loop
	until := r.limit
	if len(r.waiting) > 0 && len(r.running) < r.width {
		until = min(until, r.next)
	}
	for _, a := range r.running {
		until = min(until, a.end)
	}
	l.setTimer(&r.t.timer, until)
	defer l.stopTimer(&r.t.timer)
	paused, err := r.t.pause()
	if paused || err != nil {
		return err
	}
	c := r.running[0].c // there is one only, see pace
	ready, err := sysPoll(c.fd, waitctx.Writable, time.Duration(max(until-l.clock(), 0)))
	c.wr.ready = c.wr.ready || ready
	return err
}

// timedOut returns the error for the end of all time.
func (r *race) timedOut() error {
	if end, ok := r.ctx.Deadline(); ok && r.t.loop.at(end) <= r.limit { // see Dial
		return context.DeadlineExceeded
	}
	return os.ErrDeadlineExceeded
}

// stop closes what is not needed any more.
func (r *race) stop() {
	for len(r.running) > 0 {
		a := r.running[0]
		r.running = r.running[1:]
		a.close()
	}
	if r.more != nil {
		r.more.close()
	}
}

// fail records that an attempt has failed, or the lookup of more addresses, without remote.
// The next attempt begins at once.
func (r *race) fail(remote sockaddr, err error) {
	r.failed = append(r.failed, &net.OpError{Op: "dial", Net: r.network, Source: r.source, Addr: netAddr(remote), Err: err})
	r.next = 0
}

// giveUp returns the error of a Dial that err has ended.
func (r *race) giveUp(err error) error {
	for _, a := range r.running {
		r.fail(a.remote, err)
	}
	switch {
	case len(r.running) > 0:
	case len(r.waiting) > 0:
		r.fail(r.waiting[0].remote, err)
	default: // for more addresses
		r.fail(nil, err)
	}
	return r.err()
}

// err returns what has become of all attempts.
func (r *race) err() error {
	if len(r.failed) == 1 {
		return r.failed[0]
	}
	return &net.OpError{Op: "dial", Net: r.network, Source: r.source, Err: r.failed}
}

// open makes a socket that is being connected.
func (a *attempt) open() error {
	l := a.waiter.task.loop
	fd, err := sysConnect(a.remote, a.local)
	for isAddrNotAvail(err) && a.mayRetry() {
		// The port that the kernel has chosen has gone to somebody else meanwhile.
		fd, err = sysConnect(a.remote, a.local)
	}
	if isDescriptorLimit(err) && l.closeLingering() > 0 {
		fd, err = sysConnect(a.remote, a.local) // with one of their descriptors
	}
	if err != nil {
		return err
	}
	_, tcp := netAddr(a.remote).(*net.TCPAddr)
	c, err := l.newConn(fd, nil, a.remote, tcp)
	if err != nil {
		return err
	}
	a.c = c
	a.c.wr.ready = false // the poller will report when it is connected
	a.c.wr.add(&a.waiter)
	return nil
}

// mayRetry reports whether the kernel may choose another port, and counts.
func (a *attempt) mayRetry() bool {
	if !a.anyPort || a.retries == maxRetries {
		return false
	}
	a.retries++
	return true
}

func (a *attempt) close() {
	a.c.wr.remove(&a.waiter)
	a.c.closeNow()
}

// look reports whether the socket is connected, or its error.
func (a *attempt) look() (done bool, err error) {
	c := a.c
	switch errno, ok := c.reason.(syscall.Errno); {
	case c.state.Load() != connOpen: // its descriptor has been closed behind the loop's back
		return false, net.ErrClosed
	case ok: // an event has taken it from the socket
		return false, os.NewSyscallError("connect", errno)
	case !c.wr.ready:
		return false, nil
	}
	c.wr.ready = false
	peer, err := sysConnected(c.fd)
	if peer == nil {
		return false, err
	}
	c.local = sysLocalAddr(c.fd)
	if c.tcp {
		if a.anyPort && sameAddr(c.local, peer) {
			return false, a.again()
		}
		c.remote = peer
		setNoDelay(c.fd, true)
	}
	c.wr.ready = true
	return true, nil
}

// again is called when the socket has been connected to itself. Each of the two ends of
// a TCP connection may be the one that begins it (RFC 9293, section 3.5), so when the
// kernel happens to connect from the very port that it is to connect to, and nobody
// listens there, the handshake succeeds.
func (a *attempt) again() error {
	setLinger(a.c.fd, 0) // or the port would be taken until TIME_WAIT is over
	a.c.wr.remove(&a.waiter)
	a.c.closeNow()
	if !a.mayRetry() {
		return os.NewSyscallError("connect", errnoECONNREFUSED)
	}
	return a.open()
}

// dialErrors tells what became of the addresses that were tried.
type dialErrors []*net.OpError

func (e dialErrors) Error() string {
	var b strings.Builder
	for i, op := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		if op.Addr != nil {
			b.WriteString(op.Addr.String() + ": ")
		}
		b.WriteString(op.Err.Error())
	}
	return b.String()
}

func (e dialErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, op := range e {
		errs[i] = op
	}
	return errs
}

// Timeout reports whether one of them may only have been too slow.
func (e dialErrors) Timeout() bool {
	return slices.ContainsFunc(e, func(op *net.OpError) bool { return op.Timeout() })
}
