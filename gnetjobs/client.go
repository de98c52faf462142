package gnetjobs

import (
	"context"
	"fmt"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// Dial connects to address, as gnet.Client's DialContext does, and returns the
// connection when the handshake has succeeded and OnOpen has returned. (What
// the client's own method returns is the connection without TLS, and must not
// be used.) connCtx is what the connection's Context returns. network is tcp,
// tcp4, tcp6 or unix. The ServerName is address's host if the tls.Config has
// none.
//
// cli is a client with a handler of TLSClient's, or of Jobs'; with another the
// error is ErrNotWrapped. ctx bounds all of it, Options.HandshakeTimeout the
// handshake too. A client that has been stopped is not to be used: gnet then waits
// until ctx ends, or for ever. Dial blocks: it is for goroutines that are no event
// loop's.
func Dial(ctx context.Context, cli *gnet.Client, network, address string, connCtx any) (gnet.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return nil, fmt.Errorf("gnetjobs: dialling %s: %w", address, net.UnknownNetworkError(network))
	}
	d := newDialing(connCtx)
	if host, _, err := net.SplitHostPort(address); err == nil {
		d.serverName = host
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	enrolled := make(chan error)
	go func() {
		raw, err := cli.EnrollContext(nc, d) // has a descriptor of its own, and closes nc
		if err == nil && d.conn == nil {
			raw.Close()
			err = ErrNotWrapped
		}
		select {
		case enrolled <- err:
		case <-ctx.Done():
			d.close()
		}
	}()
	select {
	case err := <-enrolled:
		if err != nil {
			return nil, fmt.Errorf("gnetjobs: adding a connection to the client: %w", err)
		}
	case <-ctx.Done():
		nc.Close()
		return nil, fmt.Errorf("gnetjobs: dialling %s: %w", address, ctx.Err())
	}
	select {
	case r := <-d.done:
		return r.Conn, r.Err
	case <-ctx.Done():
		d.close()
		return nil, fmt.Errorf("gnetjobs: dialling %s: %w", address, ctx.Err())
	}
}

// dialing is the context that gnet knows a connection by whose handshake
// somebody waits for.
type dialing struct {
	ctx        any
	serverName string
	conn       *conn // nil before gnet has opened it
	done       chan gnet.RegisteredResult
}

func newDialing(ctx any) *dialing {
	return &dialing{ctx: ctx, done: make(chan gnet.RegisteredResult, 1)}
}

// close closes the connection, when it is known that gnet has opened it if it
// ever will.
func (d *dialing) close() {
	if d.conn != nil {
		d.conn.Close()
	}
}

// dialed tells who waits for the connection's handshake that it has ended.
func (c *conn) dialed(err error) {
	d := c.dialing
	if d == nil {
		return
	}
	c.dialing = nil
	if err != nil {
		d.done <- gnet.RegisteredResult{Err: err}
	} else {
		d.done <- gnet.RegisteredResult{Conn: c}
	}
}

// results takes what gnet answers to a call that registers a connection, and
// returns what is known when its handshake has ended.
func (d *dialing) results(registered <-chan gnet.RegisteredResult, err error) (<-chan gnet.RegisteredResult, error) {
	if err != nil {
		return nil, err
	}
	results := make(chan gnet.RegisteredResult, 1)
	go func() {
		defer close(results)
		r, ok := <-registered
		if ok && r.Err == nil && d.conn != nil { // and no datagrams
			r = <-d.done
		}
		results <- r
	}()
	return results, nil
}
