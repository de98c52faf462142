package loop

import (
	"context"
	"net"
	"time"
)

// Dialer connects to addresses. The zero value is ready to use. Its methods may be called
// by several jobs, also of several loops, at the same time.
//
// If a name has several addresses, Dial tries them as RFC 8305 says ("Happy Eyeballs"):
// IPv6 and IPv4 in turn, and the next one soon, while the ones before are still tried.
// The connection that is made first is taken, and the others are closed. So a dead
// address costs FallbackDelay, and one that refuses costs nothing. Of a name's addresses
// the first 64 are tried.
type Dialer struct {
	// Timeout bounds the whole of Dial: the lookup of names, and all attempts. 0 or less
	// means 30 seconds.
	//
	// If there are more addresses than are tried at a time (8, or one: see LocalAddr and
	// FallbackDelay), those that do not answer get equal shares of the time, of 2 seconds
	// or more while there is that much.
	Timeout time.Duration

	// LocalAddr is the address to connect from; nil leaves the choice to the system. It
	// is a *net.TCPAddr or a *net.UnixAddr, matching the network. Addresses of the other
	// family, IPv4 or IPv6, are left out then. With a port of its own, which two
	// connections cannot share, addresses are tried one at a time.
	LocalAddr net.Addr

	// FallbackDelay is how long Dial waits for an address to answer before it also tries
	// the next one (the "connection attempt delay" of RFC 8305, section 5). 0 means 250
	// milliseconds. If it is negative, addresses are tried one at a time. That is also
	// what a job does that may not pause (jobs.Job.BlockPause).
	//
	// The RFC asks for no less than 10 milliseconds, and recommends no less than 100.
	FallbackDelay time.Duration

	// Resolver looks up names; nil means net.DefaultResolver. It runs on goroutines of
	// its own. If it has not answered after 50 milliseconds, it is asked for IPv4 and
	// IPv6 addresses separately as well, so that one kind does not wait for the other
	// (RFC 8305, section 3).
	Resolver *net.Resolver
}

// defaultTimeout is Dialer.Timeout if it is not set.
const defaultTimeout = 30 * time.Second

// Dial connects to an address with the zero Dialer.
func Dial(ctx context.Context, network, address string) (*Conn, error) {
	return new(Dialer).Dial(ctx, network, address)
}

// Dial connects to an address and pauses the job that ctx carries meanwhile. It
// must be called inside that job; elsewhere it returns ErrNotInJob. All other
// errors are *net.OpError. If several addresses have failed, its Err tells what became
// of each, in the order in which they failed: errors.Is and errors.As find all of these
// errors.
//
// The network is "tcp", "tcp4", "tcp6" or "unix".
//
// For TCP the address is "host:port", as in net.Dial. The host is a name, an IP address
// (IPv6 in brackets, with a zone if need be: "[fe80::1%eth0]:80"), or empty, which means
// this host. The port is a number, or the name of a service such as "https". Names are
// ASCII: others have to be converted first, with golang.org/x/net/idna for instance. For
// "unix" it is the name of a file, or on Linux an abstract name with @ in front.
//
// If ctx ends before the connection is made, errors.Is finds context.Canceled or
// context.DeadlineExceeded in the error. If the time is up, the error is a net.Error whose
// Timeout method returns true. The connection belongs to the job's loop. It is closed by
// Close, or when the loop ends; ctx no longer affects it.
//
// A connection is never one to itself, which a kernel makes when nobody listens on a port
// and it chooses the same one to connect from. Dial returns ECONNREFUSED instead. Only a
// LocalAddr that is the address itself asks for such a connection.
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Conn, error) {
	t, err := currentTask(ctx)
	if err != nil {
		return nil, err
	}
	t.moved() // it may fail at once, and the job go on dialling
	if err := t.usable(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Err: err}
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	limit := t.loop.after(timeout)
	if end, ok := ctx.Deadline(); ok && t.job.PauseBlocked() { // a blocked wait does not see ctx end
		limit = min(limit, t.loop.at(end))
	}
	targets, more, err := d.resolve(ctx, t, network, address, limit)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Err: err}
	}
	r := race{ctx: ctx, t: t, network: network, source: d.LocalAddr, limit: limit, waiting: targets, more: more}
	r.pace(d)
	return r.run()
}
