package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"time"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/tcpinfo"
	"github.com/jobloop/jobloop/internal/unixsocket"
)

// Serve accepts connections from a listener of package net, such as one passed by
// systemd, and runs h as a job for each. ln is a *net.TCPListener, or a
// *net.UnixListener of the network "unix". The loop polls its socket, so its Accept is
// never called. Serve therefore refuses every other type, also one that embeds one of
// these: its Accept may do something, such as to refuse clients. Use Config.Accept for
// that, or call Accept yourself and give the connections to Loop.Attach. Instead of a
// listener of crypto/tls, give Serve the one inside and a TLSHandler.
//
// If Serve succeeds, the loop owns ln: it closes a TCP listener at once, since it has a
// duplicate of the socket, and a Unix listener together with the Listener. If Serve
// returns an error, ln stays open, and the caller's.
//
// Whether closing removes a Unix listener's file is what ln.SetUnlinkOnClose says, which
// may be called until then. To hand the socket to another process, keep ln.File() and
// call ln.SetUnlinkOnClose(false). A file that another server puts in its place
// afterwards is not removed.
//
// Serve may be called from any goroutine.
func (l *Loop) Serve(ln net.Listener, h Handler) (*Listener, error) {
	n, err := l.adopt(opened{ln: ln}, h, nil)
	if err != nil {
		return nil, err
	}
	n.warnBacklog()
	return n, nil
}

// opened is a listening socket for adopt.
type opened struct {
	ln        net.Listener  // a *net.TCPListener, *net.UnixListener or *unixsocket.Listener; all else is refused
	ours      bool          // no other process can have it
	keepAlive time.Duration // that of ListenConfig
}

// mayServe returns an error unless the loop can poll ln.
func mayServe(ln net.Listener) error {
	switch ln := ln.(type) {
	case *net.TCPListener:
		if ln != nil {
			return nil
		}
	case *net.UnixListener:
		if ln != nil && ln.Addr().Network() == "unix" {
			return nil
		}
		if ln != nil {
			return fmt.Errorf("loop: cannot serve a %T of network %q: connections must be streams", ln, ln.Addr().Network())
		}
	case *unixsocket.Listener:
		return nil
	}
	if ln == nil || reflect.ValueOf(ln).Kind() == reflect.Pointer && reflect.ValueOf(ln).IsNil() {
		return errors.New("loop: nil net.Listener")
	}
	if fmt.Sprintf("%T", ln) == "*tls.listener" {
		return errors.New("loop: cannot serve a listener of crypto/tls: serve the listener inside it, with a TLSHandler")
	}
	return fmt.Errorf("loop: cannot serve a %T, because its Accept would not be called: "+
		"serve the *net.TCPListener or *net.UnixListener inside it and refuse clients by Config.Accept, "+
		"or call Accept yourself and give the connections to Loop.Attach", ln)
}

// adopt takes over a listener. If it returns an error, the listener is still the
// caller's.
func (l *Loop) adopt(s opened, h Handler, deal func() *Loop) (*Listener, error) {
	if h == nil {
		return nil, errors.New("loop: nil Handler")
	}
	if err := mayServe(s.ln); err != nil {
		return nil, err
	}
	n := &Listener{l: l, addr: s.ln.Addr(), ours: s.ours, keepAlive: s.keepAlive, handler: h, deal: deal}
	n.rest.owner, n.reviews.owner = n, (*reviewTimer)(n)
	switch ln := s.ln.(type) {
	case *net.UnixListener:
		n.file = unixsocket.Adopt(ln)
	case *unixsocket.Listener:
		n.file = ln
	default:
		n.tcp = true
	}
	n.queue = admission.New(l.cfg.MaxWait)
	fd, err := dupSocket(s.ln)
	if err == nil && l.cfg.Backlog > 0 {
		if err = sysBacklog(fd, l.cfg.Backlog); err != nil {
			sysClose(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("loop: listen on %v: %w", n.addr, err)
	}
	n.fd = fd
	if q, ok := tcpinfo.QueueOf(fd); ok {
		n.backlog, n.dropped = q.Limit, q.Dropped
	}
	if a := sysLocalAddr(fd); a != nil && !isWildcard(a) {
		n.local = a
	}
	if n.tcp && acceptInherits { // accepted sockets inherit it
		setNoDelay(fd, true)
	}
	if err := l.send(message{listen: n}); errors.Is(err, ErrClosed) { // despite any other error it has arrived
		sysClose(fd)
		return nil, err
	}
	if n.tcp {
		s.ln.Close() // left open, it would wake the Go runtime for every connection
	}
	return n, nil
}

// warnBacklog logs that the system has cut Config.Backlog short, which it does without
// an error.
func (n *Listener) warnBacklog() {
	want := n.l.cfg.Backlog
	name, limit := backlogLimit()
	if n.backlog > 0 {
		limit = n.backlog // what is, and not what should be
	}
	if limit > 0 && want > limit {
		n.l.log(slog.LevelWarn, "the system has cut the backlog short", slog.String("address", n.addr.String()),
			slog.Int("backlog", want), slog.Int(name, limit))
	}
}
