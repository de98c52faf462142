//go:build linux

package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// This file is clients that leave: at some moment, and in some way.

// errVanished is what crypto/tls gets from a connection whose client has left.
var errVanished = errors.New("the client has vanished")

// Moment is when a client leaves. A client of TLS 1.3 writes three times: its
// hello, the end of the handshake, the request.
type Moment struct {
	Name string

	// It leaves in the write of this number, the first being 1, of which it
	// sends a part if inside is true and nothing otherwise; 0: in no write.
	write  int
	inside bool

	// It leaves when it reads after this many writes, if that is not 0: after
	// some bytes if inside is true, before the first otherwise.
	read int
}

// Moments are in the order in which a connection passes them. At the last, clients
// have got their answer.
var Moments = []Moment{
	{Name: "before the hello", write: 1},
	{Name: "inside the hello", write: 1, inside: true},
	{Name: "after the hello", read: 1},
	{Name: "inside the server's answer to it", read: 1, inside: true},
	{Name: "before the end of the handshake", write: 2},
	{Name: "inside the end of the handshake", write: 2, inside: true},
	{Name: "after the handshake", write: 3},
	{Name: "inside the request", write: 3, inside: true},
	{Name: "after the request", read: 3},
	{Name: "after the answer"},
}

// serverFlight is less than what a server sends between its client's first and
// second write, even with the shortest key.
const serverFlight = 500

// vanishing is a connection whose client leaves at a moment.
type vanishing struct {
	net.Conn
	moment Moment
	rnd    *rand.Rand
	writes int
	unread int // bytes until it leaves when it reads
}

func newVanishing(c net.Conn, m Moment, rnd *rand.Rand) *vanishing {
	v := &vanishing{Conn: c, moment: m, rnd: rnd}
	if m.read > 0 && m.inside {
		v.unread = 1 + rnd.IntN(serverFlight)
	}
	return v
}

func (c *vanishing) Write(p []byte) (int, error) {
	c.writes++
	if c.writes != c.moment.write {
		return c.Conn.Write(p)
	}
	if !c.moment.inside {
		return 0, errVanished
	}
	n, err := c.Conn.Write(p[:1+c.rnd.IntN(len(p)-1)])
	return n, cmp.Or(err, errVanished)
}

func (c *vanishing) Read(p []byte) (int, error) {
	if c.moment.read == 0 || c.writes < c.moment.read {
		return c.Conn.Read(p)
	}
	if c.unread == 0 {
		return 0, errVanished
	}
	n, err := c.Conn.Read(p[:min(len(p), c.unread)])
	c.unread -= n
	return n, err
}

// Way is how a client leaves.
type Way int

const (
	Reset     Way = iota // RST
	CloseBoth            // FIN, and RST to what the server still sends
	CloseHalf            // FIN, but it reads on until the server closes
	Silent               // nothing is sent: the server has to find out by its timeouts
	Ways
)

var wayNames = [Ways]string{"reset", "close", "half-close", "silence"}

func (w Way) String() string { return wayNames[w] }

// Visit is that of one client.
type Visit struct {
	Moment Moment
	Way    Way
	Rand   *rand.Rand
	Target Target

	conn *net.TCPConn
}

// Run connects, goes on to the moment and leaves. Only what happens before that
// is an error.
func (v *Visit) Run(ctx context.Context) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", v.Target.Addr)
	if err != nil {
		return err
	}
	v.conn = nc.(*net.TCPConn)
	v.conn.SetDeadline(time.Now().Add(IOTimeout))
	if err := v.talk(); err != nil && !errors.Is(err, errVanished) {
		v.conn.Close()
		return err
	}
	switch v.Way {
	case Reset:
		v.conn.SetLinger(0)
		v.conn.Close()
	case CloseBoth:
		v.conn.Close()
	case CloseHalf:
		v.conn.CloseWrite()
		return v.AwaitEnd()
	}
	return nil
}

func (v *Visit) talk() error {
	t := tls.Client(newVanishing(v.conn, v.Moment, v.Rand), config)
	if err := t.Handshake(); err != nil {
		return err
	}
	if err := v.Target.check(t.ConnectionState()); err != nil {
		return err
	}
	return exchange(t)
}

// AwaitEnd waits for the server to close the connection, and closes it too.
func (v *Visit) AwaitEnd() error {
	defer v.conn.Close()
	v.conn.SetDeadline(time.Now().Add(IOTimeout))
	_, err := io.Copy(io.Discard, v.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the server has kept the connection for %v", IOTimeout)
	}
	return nil
}
