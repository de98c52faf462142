package loop

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// How Dial asks the resolver for names, on other goroutines, while its job pauses.

// resolutionDelay is how long the addresses of one family may be waited for when those
// of the other have been found (RFC 8305, section 3).
const resolutionDelay = 50 * time.Millisecond

// lookup is the questions for the addresses of one host.
//
// One question is for both families, because the resolver then sorts the addresses by
// what this host can reach (RFC 6724), and answers when it has both. If that takes longer
// than resolutionDelay, there are two more, for each family on its own. So the addresses
// of one family are used resolutionDelay after they could have been found.
type lookup struct {
	t        *task
	resolver *net.Resolver
	host     string
	network  string          // of the first question
	ctx      context.Context // of all questions
	close    func()
	fit      func([]netip.Addr) ([]target, error)
	answers  chan answer   // has room for all
	answered chan struct{} // closed with the answer to the first question
}

type answer struct {
	network string
	ips     []netip.Addr
	err     error
}

// lookUp returns the addresses of host that are found first. More may come from q if that
// is not nil. fit turns addresses into targets; it returns one at least, or an error.
func (d *Dialer) lookUp(ctx context.Context, t *task, network, host string, limit int64, fit func([]netip.Addr) ([]target, error)) (_ []target, more *lookup, _ error) {
	q := &lookup{t: t, resolver: d.resolver(), host: host, network: "ip" + network[len("tcp"):], fit: fit,
		answers: make(chan answer, 3), answered: make(chan struct{})}
	q.ctx, q.close = context.WithTimeout(ctx, time.Duration(limit-t.loop.clock()))
	defer func() { // also after a panic or runtime.Goexit
		if more == nil {
			q.close()
		}
	}()
	q.ask(q.network)
	until := int64(0)
	if q.network == "ip" && !t.job.PauseBlocked() {
		until = t.loop.after(resolutionDelay)
	}
	for {
		if err := q.wait(ctx, until); err != nil {
			return nil, nil, err
		}
		if len(q.answers) == 0 {
			until = 0
			q.ask("ip4")
			q.ask("ip6")
			continue
		}
		out, all, err := q.take()
		switch {
		case all:
			return out, nil, err
		case err == nil:
			return out, q, nil
		}
	}
}

func (d *Dialer) resolver() *net.Resolver {
	if d.Resolver != nil {
		return d.Resolver
	}
	return net.DefaultResolver
}

// ask asks for the addresses of one network: "ip", "ip4" or "ip6".
func (q *lookup) ask(network string) {
	go func() {
		ips, err := q.resolver.LookupNetIP(q.ctx, network, q.host)
		q.answers <- answer{network, ips, err}
		if network == q.network {
			close(q.answered)
		}
		if q.ctx.Err() != context.Canceled { // or nobody waits for it
			q.t.loop.send(message{resume: q.t})
		}
	}()
}

// wait waits for an answer, until a time if that is not 0. A job that may not pause
// waits for the answer to the first question.
func (q *lookup) wait(ctx context.Context, until int64) error {
	l := q.t.loop
	if until != 0 {
		l.setTimer(&q.t.timer, until)
		defer l.stopTimer(&q.t.timer)
	}
	return q.t.until(ctx, func() bool { return len(q.answers) > 0 || until != 0 && l.now >= until }, q.answered)
}

// take takes an answer, which must be there. all says that there are no other addresses
// than these.
func (q *lookup) take() (_ []target, all bool, err error) {
	a := <-q.answers
	all = a.network == q.network
	if a.err != nil {
		return nil, all, a.err
	}
	out, err := q.fit(a.ips)
	return out, all, err
}

// lookUpPort asks for the port of a service.
func (d *Dialer) lookUpPort(ctx context.Context, t *task, network, service string, limit int64) (uint16, error) {
	type answer struct {
		port int
		err  error
	}
	found := make(chan answer, 1) // dropped if the job is cancelled or ctx ends
	ask, cancel := context.WithTimeout(ctx, time.Duration(limit-t.loop.clock()))
	defer cancel()
	if err := Await(ctx, func(done func()) {
		go func() {
			defer done()
			port, err := d.resolver().LookupPort(ask, network, service)
			found <- answer{port, err}
		}()
	}); err != nil {
		return 0, err
	}
	a := <-found
	return uint16(a.port), a.err
}
