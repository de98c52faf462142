package gnetjobs

import (
	"context"
	"fmt"
	"net"

	"github.com/panjf2000/gnet/v2"
)

// Dial connects to address, as gnet.Client's DialContext does. It returns the
// connection after the handshake has succeeded and OnOpen has returned. (Do not
// use the client's own method: it returns the connection without TLS.) network is
// tcp, tcp4, tcp6 or unix. connCtx is what the connection's Context returns. If
// the tls.Config has no ServerName, the host of address is used.
//
// cli must be a client whose handler comes from TLSClient or Jobs; otherwise Dial
// returns ErrNotWrapped. ctx bounds everything; Options.HandshakeTimeout bounds
// the handshake too. Do not use a client that has been stopped: gnet would wait
// until ctx ends, or for ever. Dial blocks, so it must not be called on an event
// loop's goroutine.
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
		raw, err := cli.EnrollContext(nc, d) // duplicates the descriptor and closes nc
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

// dialing is the gnet context of a connection while somebody waits for its
// handshake.
type dialing struct {
	ctx        any
	serverName string
	conn       *conn // nil until gnet has opened it
	done       chan gnet.RegisteredResult
}

func newDialing(ctx any) *dialing {
	return &dialing{ctx: ctx, done: make(chan gnet.RegisteredResult, 1)}
}

// close closes the connection if gnet has opened it. It must be called after gnet
// has answered, because gnet does not open it later.
func (d *dialing) close() {
	if d.conn != nil {
		d.conn.Close()
	}
}

// dialed reports the end of the handshake to the caller that waits for it, if any.
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

// results turns gnet's result of registering a connection into a result that comes
// when the handshake has ended.
func (d *dialing) results(registered <-chan gnet.RegisteredResult, err error) (<-chan gnet.RegisteredResult, error) {
	if err != nil {
		return nil, err
	}
	results := make(chan gnet.RegisteredResult, 1)
	go func() {
		defer close(results)
		r, ok := <-registered
		if ok && r.Err == nil && d.conn != nil { // conn is nil for datagrams
			r = <-d.done
		}
		results <- r
	}()
	return results, nil
}
