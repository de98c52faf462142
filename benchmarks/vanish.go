//go:build linux

package main

import (
	"errors"
	"math/rand/v2"
	"net"
)

// This file is how the clients of the soak leave: at which moment, and in which
// way.

// errVanished is what crypto/tls gets from a connection whose client has left.
var errVanished = errors.New("the client has vanished")

// moment is when a client leaves. A client of TLS 1.3 writes three times: its
// hello, the end of the handshake, the request.
type moment struct {
	name string

	// It leaves in the write of this number, the first being 1, of which it
	// sends a part if inside is true and nothing otherwise; 0: in no write.
	write  int
	inside bool

	// It leaves when it reads after this many writes, if that is not 0: after
	// some bytes if inside is true, before the first otherwise.
	read int
}

// moments in the order in which a connection passes them. The last is not one:
// these clients stay, and must get their answer.
var moments = []moment{
	{name: "before the hello", write: 1},
	{name: "inside the hello", write: 1, inside: true},
	{name: "after the hello", read: 1},
	{name: "inside the server's answer to it", read: 1, inside: true},
	{name: "before the end of the handshake", write: 2},
	{name: "inside the end of the handshake", write: 2, inside: true},
	{name: "after the handshake", write: 3},
	{name: "inside the request", write: 3, inside: true},
	{name: "after the request", read: 3},
	{name: "after the answer"},
}

// serverFlight is less than a server sends between its client's first write and
// the second, with the shortest of keys.
const serverFlight = 500

// vanishing is a connection whose client leaves at a moment.
type vanishing struct {
	net.Conn
	moment moment
	rnd    *rand.Rand
	writes int
	unread int // bytes until it leaves, once it has read any
	begun  bool
}

func (c *vanishing) Write(p []byte) (int, error) {
	c.writes++
	if c.writes != c.moment.write {
		return c.Conn.Write(p)
	}
	n := 0
	if c.moment.inside && len(p) > 1 {
		n = 1 + c.rnd.IntN(len(p)-1)
	}
	if n == 0 {
		return 0, errVanished
	}
	n, err := c.Conn.Write(p[:n])
	if err == nil {
		err = errVanished
	}
	return n, err
}

func (c *vanishing) Read(p []byte) (int, error) {
	if c.moment.read == 0 || c.writes < c.moment.read {
		return c.Conn.Read(p)
	}
	if !c.begun {
		c.begun = true
		if c.moment.inside {
			c.unread = 1 + c.rnd.IntN(serverFlight)
		}
	}
	if c.unread == 0 {
		return 0, errVanished
	}
	n, err := c.Conn.Read(p[:min(len(p), c.unread)])
	c.unread -= n
	return n, err
}

// way is how a client leaves.
type way int

const (
	reset     way = iota // RST
	closeBoth            // FIN, and RST to what the server still sends
	closeHalf            // FIN, but it reads on until the server closes
	silent               // nothing is sent: the server has to find out by its timeouts
	ways
)

var wayNames = [ways]string{"reset", "close", "half-close", "silence"}

func (w way) String() string { return wayNames[w] }
