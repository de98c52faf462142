package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/waitctx"
)

// Dialer connects to addresses. The zero value is ready to use.
type Dialer struct {
	// Timeout bounds the whole of Dial; 0 means 30 seconds. If there are several
	// addresses to try, each gets an equal share of the time left.
	Timeout time.Duration

	// LocalAddr is the address to connect from; nil leaves the choice to the
	// system. It is a *net.TCPAddr or a *net.UnixAddr, matching the network.
	LocalAddr net.Addr

	// Resolver looks up names; nil means net.DefaultResolver. It runs on a
	// goroutine of its own.
	Resolver *net.Resolver
}

// Dial connects to an address with the zero Dialer.
func Dial(ctx context.Context, network, address string) (*Conn, error) {
	return new(Dialer).Dial(ctx, network, address)
}

// Dial connects to an address and pauses the job that ctx carries meanwhile. It
// must be called inside that job; elsewhere it returns ErrNotInJob. All other
// errors are *net.OpError.
//
// The network is "tcp", "tcp4", "tcp6" or "unix", and the address is as in
// net.Dial. If ctx ends before the connection is made, errors.Is finds
// context.Canceled or context.DeadlineExceeded in the error. The connection
// belongs to the job's loop. It is closed by Close, or when the loop ends; ctx no
// longer affects it.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Conn, error) {
	t, err := currentTask(ctx)
	if err != nil {
		return nil, err
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	limit := t.loop.after(timeout)
	if end, ok := ctx.Deadline(); ok && t.job.PauseBlocked() { // a blocked wait does not see ctx end
		limit = min(limit, t.loop.at(end))
	}
	targets, err := d.resolve(ctx, t, network, address, limit)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Err: err}
	}
	for i, ra := range targets {
		var c *Conn
		now := t.loop.clock()
		share := max(limit-now, 0) / int64(len(targets)-i)
		c, err = d.connect(ctx, t, ra, now+share)
		if err == nil {
			return c, nil
		}
		err = &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Addr: netAddr(ra), Err: err}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// connect connects a socket to ra before limit, and before ctx ends.
func (d *Dialer) connect(ctx context.Context, t *task, ra sockaddr, limit int64) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := t.loop
	var la sockaddr
	tcp := true
	switch a := d.LocalAddr.(type) {
	case nil:
	case *net.TCPAddr:
		ap := a.AddrPort()
		if !ap.Addr().IsValid() { // a port alone
			ap = netip.AddrPortFrom(unspecified(ra), ap.Port())
		}
		la = inetSockaddr(ap)
	case *net.UnixAddr:
		la = unixSockaddr(a.Name)
	default:
		return nil, fmt.Errorf("loop: local address of type %T", a)
	}
	if _, ok := netAddr(ra).(*net.UnixAddr); ok {
		tcp = false
	}
	fd, err := sysConnect(ra, la)
	if err != nil && acceptError(errors.Unwrap(err)) == acceptLater && l.closeLingering() > 0 {
		fd, err = sysConnect(ra, la) // with one of their descriptors
	}
	if err != nil {
		return nil, err
	}
	c, err := l.newConn(fd, nil, ra, tcp)
	if err != nil {
		return nil, err
	}
	connected := false
	defer func() {
		if !connected { // also after runtime.Goexit
			c.closeNow()
		}
	}()
	if err := c.connected(ctx, limit); err != nil {
		return nil, err
	}
	connected = true
	c.local = sysLocalAddr(fd)
	if tcp {
		setNoDelay(fd, true)
	}
	return c, nil
}

// connected waits until the socket is connected.
func (c *Conn) connected(ctx context.Context, limit int64) error {
	if ctx.Done() != nil {
		over := false
		stop := context.AfterFunc(ctx, func() {
			c.l.send(message{call: func() {
				if !over {
					c.wr.deadline = 1 // in the past
					c.wr.wake()
				}
			}})
		})
		defer func() { over = true; stop() }()
	}
	c.wr.deadline = limit
	for {
		c.wr.ready = false
		err := c.await(&c.wr, waitctx.Writable, 0)
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if errno, ok := c.reason.(syscall.Errno); ok { // look has taken it from the socket
			return os.NewSyscallError("connect", errno)
		}
		if err == nil {
			var done bool
			if done, err = sysConnected(c.fd); !done && err == nil {
				err = c.usable(&c.wr) // await may have returned for another reason than an event
			}
			if done && err == nil {
				c.wr.deadline, c.wr.ready = 0, true
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// unspecified returns the unspecified address of ra's family, which stands for
// any address of this host.
func unspecified(ra sockaddr) netip.Addr {
	if a, ok := netAddr(ra).(*net.TCPAddr); ok && a.IP.To4() == nil {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// resolve returns the addresses to try. It must finish before limit.
func (d *Dialer) resolve(ctx context.Context, t *task, network, address string, limit int64) ([]sockaddr, error) {
	switch network {
	case "unix":
		return []sockaddr{unixSockaddr(address)}, nil
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	ip, iperr := netip.ParseAddr(host)
	switch {
	case host == "":
		ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} // this host
		if network == "tcp6" {
			ips[0] = netip.IPv6Loopback()
		}
	case iperr == nil:
		ips = []netip.Addr{ip}
	}
	port, perr := strconv.ParseUint(service, 10, 16)
	if ips == nil || perr != nil {
		ips, port, err = d.lookUp(ctx, t, network, host, service, ips, limit)
		if err != nil {
			return nil, err
		}
	}
	var out []sockaddr
	for _, ip := range ips {
		is4 := ip.Is4() || ip.Is4In6()
		if network == "tcp4" && !is4 || network == "tcp6" && is4 {
			continue
		}
		out = append(out, inetSockaddr(netip.AddrPortFrom(ip, uint16(port))))
	}
	if len(out) == 0 {
		return nil, &net.AddrError{Err: "no suitable address", Addr: address}
	}
	return out, nil
}

// lookUp asks the resolver on another goroutine while the job pauses.
func (d *Dialer) lookUp(ctx context.Context, t *task, network, host, service string, ips []netip.Addr, limit int64) ([]netip.Addr, uint64, error) {
	r := d.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	// The result is dropped if the job is cancelled or ctx ends.
	type result struct {
		ips  []netip.Addr
		port int
		err  error
	}
	found := make(chan result, 1)
	ask, cancel := context.WithTimeout(ctx, time.Duration(limit-t.loop.clock()))
	defer cancel()
	if err := Await(ctx, func(done func()) {
		go func() {
			defer done()
			f := result{ips: ips}
			if ips == nil {
				f.ips, f.err = r.LookupNetIP(ask, "ip", host)
			}
			if f.err == nil {
				f.port, f.err = r.LookupPort(ask, network, service)
			}
			found <- f
		}()
	}); err != nil {
		return nil, 0, err
	}
	f := <-found
	return f.ips, uint64(f.port), f.err
}
