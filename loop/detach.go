package loop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jobloop/jobloop/waitctx"
)

// Ways out of a loop and into it: connections become those of package net, and the
// other way round.

// Detach takes the connection off the loop and returns it as a connection of package
// net, which any goroutine may use. What has arrived and was not read is read there.
//
// It must be called on the loop's goroutine, usually inside the connection's job, which
// goes on. To the loop the connection is closed: c's methods return net.ErrClosed, and
// Config.MaxConns does not count it any more. Its deadlines do not go with it, and its
// keep-alive and no-delay are package net's defaults, which are on.
//
// Detach needs two descriptors for a moment, for which the loop keeps a reserve. It
// returns ErrInUse if another job is inside Read or Write, and net.ErrClosed after Close.
// If there are no descriptors (EMFILE), c is what it was. If the peer has reset the
// connection, the error says so. For a connection with TLS on it, use TLSConn.Detach.
func (c *Conn) Detach() (net.Conn, error) {
	if c.tls != nil && c.tls.shaken() {
		return nil, c.opError("detach", errTLSOnIt)
	}
	if err := c.mayDetach(); err != nil {
		return nil, err
	}
	return c.detach()
}

// mayDetach waits until the connection's output has been sent.
func (c *Conn) mayDetach() error {
	switch {
	case !c.l.here():
		return c.opError("detach", ErrNotInJob)
	case c.state.Load() >= connClosing:
		return c.opError("detach", net.ErrClosed)
	case c.rd.waiters != nil || c.wr.waiters != nil || c.rd.busy > 0 || c.wr.busy > 0:
		return c.opError("detach", ErrInUse)
	}
	for len(c.out) > 0 {
		err := c.usable(&c.wr)
		if err == nil {
			err = c.await(&c.wr, waitctx.Writable, c.l.cfg.WriteTimeout)
		}
		if err != nil {
			return c.opError("detach", err)
		}
	}
	if c.gone() {
		errno, _ := c.reason.(syscall.Errno)
		return c.detachReset(errno)
	}
	return nil
}

// detachReset is the error for a connection that the peer has reset. errno is 0 if that
// has been reported.
func (c *Conn) detachReset(errno syscall.Errno) error {
	if errno == 0 {
		errno = errnoEPIPE
	}
	return c.failed("detach", errno)
}

// detach hands the descriptor over.
func (c *Conn) detach() (_ net.Conn, err error) {
	l, fd, state := c.l, c.fd, c.state.Load()
	if state >= connClosing || !c.state.CompareAndSwap(state, connClosing) {
		return nil, c.opError("detach", net.ErrClosed) // Close came first, on another goroutine
	}
	l.spareDescriptors(false)
	defer l.spareDescriptors(true)
	nc, err := sysNetConn(fd)
	if err == nil && nc.RemoteAddr() == nil { // the peer has reset it, and the kernel has forgotten the address
		nc.Close()
		c.state.Store(state)
		return nil, c.detachReset(sysSocketError(fd))
	}
	if err != nil {
		c.state.Store(state)
		return nil, c.opError("detach", err)
	}
	taken := false
	defer func() { // even if a hook ends the goroutine
		sysClose(fd)
		if !taken {
			nc.Close()
		}
	}()
	l.poller.remove(fd) // the duplicate keeps the registration alive
	l.claim(fd)
	taken = true
	return nc, nil
}

// spareDescriptors opens or closes the loop's reserve of two descriptors. A loop accepts
// until there are none left, and a connection whose handshake is done would be lost.
func (l *Loop) spareDescriptors(open bool) {
	for i, fd := range l.spare {
		if open && fd == 0 {
			l.spare[i] = sysSpare()
		} else if !open && fd > 0 {
			sysClose(fd)
			l.spare[i] = 0
		}
	}
}

// Detach is Conn.Detach for TLS. The connection that it returns is the same TLS
// connection: its handshake has been made, or is made first by Detach itself. If the
// loop has kept bytes of a Write outside a job, Detach pauses the job until they have
// been sent.
//
// TLSConn.Readable and Park read ahead, to know whether there is anything to read. What
// they have read cannot be put back. So after Readable has returned true, or in a
// handler that was called because there is something to read, call Read before Detach.
// Otherwise Detach returns an error, and t is what it was. After CloseWrite it cannot be
// detached.
//
// NetConn of the returned connection is not a *net.TCPConn.
func (t *TLSConn) Detach() (*tls.Conn, error) {
	c := t.c
	if err := t.ready("detach"); err != nil {
		return nil, err
	}
	switch {
	case t.reading || t.writing:
		return nil, c.opError("detach", ErrInUse)
	case t.hasPeek || t.peekErr != nil && t.peekErr != io.EOF: // crypto/tls reports the end again
		return nil, c.opError("detach", errReadAhead)
	case t.werr != nil:
		return nil, c.opError("detach", t.werr)
	}
	t.reading, t.writing = true, true // while it waits
	err := c.mayDetach()
	t.reading, t.writing = false, false
	if err != nil {
		return nil, err
	}
	nc, err := c.detach()
	if err != nil {
		return nil, err
	}
	t.detached, t.err = true, c.opError("use", net.ErrClosed)
	return t.s.Detach(nc), nil
}

var (
	errTLSOnIt   = errors.New("loop: there is TLS on the connection: use TLSConn.Detach")
	errNoStream  = errors.New("not a stream socket")
	errReadAhead = errors.New("loop: something to read has been found: call Read first")
)

// Attach gives a connection of package net to the loop, which runs h for it as for a
// connection that it has just accepted. h may be a TLSHandler. nc is a *net.TCPConn, a
// *net.UnixConn, or another type with the method SyscallConn, and is a stream. What was
// read from it into buffers is not known to the loop.
//
// It must not share its descriptor with another: os.File.Fd of its File, for instance,
// makes the socket blocking, for the loop as well.
//
// Attach may be called from any goroutine. If it returns nil, nc belongs to the loop
// and has been closed; the connection goes on without it. If Attach returns an error,
// nc is what it was. The error is ErrQueueFull when Config.MaxQueued calls are waiting,
// ErrShutdown once Shutdown has been called, ErrClosed when the loop has ended, or says
// what is wrong with nc. Config.MaxConns, MaxConnsPerAddress and Accept are not applied
// to the connection.
func (l *Loop) Attach(nc net.Conn, h Handler) error {
	if h == nil {
		return errors.New("loop: nil Handler")
	}
	if t, ok := h.(*TLSHandler); ok {
		if err := t.valid(); err != nil {
			return err
		}
	}
	if l.ShuttingDown() {
		return l.refused()
	}
	d := &deal{began: l.clock(), handler: h, attached: true}
	var err error
	if d.fd, err = dupSocket(nc); err != nil {
		return fmt.Errorf("loop: attach: %w", err)
	}
	if d.remote, err = sysRemoteAddr(d.fd); err == nil {
		_, d.tcp = netAddr(d.remote).(*net.TCPAddr)
		if !sysIsStream(d.fd) {
			err = errNoStream
		}
	}
	if err == nil {
		// Despite any other error than these the message has arrived.
		if err = l.sendBounded(message{deal: d}); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrQueueFull) {
			err = nil
		}
	}
	if err != nil {
		sysClose(d.fd)
		return fmt.Errorf("loop: attach: %w", err)
	}
	nc.Close() // the loop has its own descriptor
	return nil
}
