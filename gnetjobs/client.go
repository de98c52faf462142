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
// be used.) connCtx is what the connection's Context returns. The ServerName
// is address's host if the tls.Config has none.
//
// cli is a client with a handler of TLSClient's, or of Jobs'. ctx bounds
// connecting, and the handshake, which Options.HandshakeTimeout bounds too.
// Dial blocks: it is for goroutines that are no event loop's.
func Dial(ctx context.Context, cli *gnet.Client, network, address string, connCtx any) (gnet.Conn, error) {
	d := newDialing(connCtx)
	if host, _, err := net.SplitHostPort(address); err == nil {
		d.serverName = host
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	raw, err := cli.EnrollContext(nc, d) // closes nc, having duplicated it
	if err != nil {
		return nil, fmt.Errorf("gnetjobs: adding a connection to the client: %w", err)
	}
	select {
	case r := <-d.done:
		return r.Conn, r.Err
	case <-ctx.Done():
		raw.Close()
		return nil, fmt.Errorf("gnetjobs: dialling %s: %w", address, ctx.Err())
	}
}

// dialing is the context that gnet knows a connection by whose handshake
// somebody waits for.
type dialing struct {
	ctx        any
	serverName string
	done       chan gnet.RegisteredResult
}

func newDialing(ctx any) *dialing {
	return &dialing{ctx: ctx, done: make(chan gnet.RegisteredResult, 1)}
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

// results returns what is known when a connection has been registered, and its
// handshake has ended.
func (d *dialing) results(registered <-chan gnet.RegisteredResult) <-chan gnet.RegisteredResult {
	results := make(chan gnet.RegisteredResult, 1)
	go func() {
		defer close(results)
		r, ok := <-registered
		if ok && r.Err == nil {
			r = <-d.done
		}
		results <- r
	}()
	return results
}
