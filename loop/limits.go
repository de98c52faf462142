package loop

import (
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/jobloop/jobloop/internal/panicvalue"
)

// Limits on who may connect: Config.MaxConns, Config.MaxConnsPerAddress and
// Config.Accept.

// census counts the connections that have been accepted and not closed yet, by
// one loop or by all loops of a group together.
type census struct {
	conns atomic.Int64

	mu      sync.Mutex
	clients map[netip.Prefix]int // only used if MaxConnsPerAddress is set
}

// client returns the range of addresses whose connections are counted together.
// It is one IPv4 address, or the first 64 bits of an IPv6 address, since a
// subscriber gets at least a /64 (RFC 6177). For other kinds of address it is the
// zero Prefix.
func client(sa sockaddr) netip.Prefix {
	a, ok := netAddr(sa).(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := a.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// enter counts one more connection of client p, unless it already has most of
// them. It reports whether it did.
func (s *census) enter(p netip.Prefix, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[p] >= most {
		return false
	}
	if s.clients == nil {
		s.clients = make(map[netip.Prefix]int)
	}
	s.clients[p]++
	return true
}

func (s *census) leave(p netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[p]--; s.clients[p] <= 0 {
		delete(s.clients, p)
	}
}

// enter counts a connection from remote and reports true, or refuses it.
func (l *Loop) enter(remote sockaddr) bool {
	s := l.census
	if most := l.cfg.MaxConnsPerAddress; most > 0 {
		p := client(remote)
		same := func(c *Conn) bool { return client(c.remote) == p }
		if p.IsValid() && !s.enter(p, most) && !(l.closeOneLingering(same) && s.enter(p, most)) {
			l.counts.RefusedAddress++
			return false
		}
	}
	if n, most := s.conns.Add(1), int64(l.cfg.MaxConns); n > most && most > 0 && !l.closeOneLingering(func(*Conn) bool { return true }) {
		l.uncount(remote)
		l.counts.RefusedConns++
		return false
	}
	return l.cfg.Accept == nil || l.mayAccept(remote)
}

// mayAccept asks Config.Accept. If that panics, or ends the goroutine, the
// connection is refused.
func (l *Loop) mayAccept(remote sockaddr) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			l.log(slog.LevelError, "Config.Accept panicked", slog.Any("panic", panicvalue.Value{V: v}), slog.String("stack", string(debug.Stack())))
		}
		if !ok {
			l.uncount(remote)
			l.counts.RefusedAccept++
		}
	}()
	l.step()
	return l.cfg.Accept(netAddr(remote))
}

// leave is called when a counted connection from remote has been closed.
func (l *Loop) leave(remote sockaddr) {
	l.uncount(remote)
	if l.cfg.Closed != nil {
		l.call(func() { l.cfg.Closed(netAddr(remote)) })
	}
}

func (l *Loop) uncount(remote sockaddr) {
	l.census.conns.Add(-1)
	if l.cfg.MaxConnsPerAddress > 0 {
		if p := client(remote); p.IsValid() {
			l.census.leave(p)
		}
	}
}
