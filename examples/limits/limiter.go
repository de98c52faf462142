package main

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter limits the requests of each client. It remembers at most most clients, and
// forgets the one that has been silent longest. A client that has been silent for
// burst/rate seconds may make burst requests anyway. So choose most for as many clients as
// come in that time. Who has as many addresses as that is not limited.
//
// All loops share it. The mutex is held briefly, and not while a job pauses.
type limiter struct {
	rate  rate.Limit
	burst int
	most  int

	mu      sync.Mutex
	clients map[netip.Prefix]*list.Element
	recent  list.List // of *client, the most recent first
}

type client struct {
	prefix netip.Prefix
	bucket *rate.Limiter
}

func newLimiter(r rate.Limit, burst, most int) *limiter {
	return &limiter{rate: r, burst: burst, most: max(most, 1), clients: make(map[netip.Prefix]*list.Element)}
}

// wait counts a request from addr and returns 0, or how long the client has to wait
// before it may make the request.
func (l *limiter) wait(addr net.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.bucket(prefixOf(addr)).ReserveN(now, 1)
	wait := r.DelayFrom(now) // for ever, if burst is 0
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *limiter) bucket(p netip.Prefix) *rate.Limiter {
	if e, ok := l.clients[p]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*client).bucket
	}
	if l.recent.Len() >= l.most {
		e := l.recent.Back()
		l.recent.Remove(e)
		delete(l.clients, e.Value.(*client).prefix)
	}
	c := &client{p, rate.NewLimiter(l.rate, l.burst)}
	l.clients[p] = l.recent.PushFront(c)
	return c.bucket
}

// prefixOf returns the addresses that count as one client, as they do for
// loop.Config.MaxConnsPerAddress. A subscriber has 64 bits of IPv6 addresses at least, and
// could take another for each request.
func prefixOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}
