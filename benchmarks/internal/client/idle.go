//go:build linux

package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Idle is the process that holds idle connections. Nothing in it runs while they
// are idle.
type Idle struct {
	Target
	Connections int
	State       State
}

const (
	openers = 32 // connections that are opened or used at the same time

	// One local address has 28,000 ports by default. Connections beyond that
	// come from 127.0.0.3 and so on, which are this machine's as well.
	perAddress = 20_000

	idleSize = 64 // of a message to an echo server
)

// Run opens the connections, brings each to its state, and says that it is ready. When
// its standard input is closed it uses each, after the rest of its handshake if there is
// any, and prints how many there are.
func (c *Idle) Run(ctx context.Context) error {
	all := make([]*idleConn, c.Connections)
	err := each(len(all), func(i int) (err error) {
		all[i], err = c.open(ctx, i)
		return err
	})
	if err != nil {
		return err
	}
	if err := process.SayReady(); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin) // until it is closed
	err = each(len(all), func(i int) error {
		all[i].SetDeadline(time.Now().Add(IOTimeout))
		return all[i].use()
	})
	if err != nil {
		return fmt.Errorf("after the idle time: %w", err)
	}
	_, err = fmt.Println(len(all))
	return err
}

// idleConn is a connection to a server that answers or echoes.
type idleConn struct {
	net.Conn
	echo *echoer
	rest func() error // makes the rest of its handshake; nil: there is none
}

func (c *idleConn) use() error {
	if c.rest != nil {
		if err := c.rest(); err != nil {
			return err
		}
		c.rest = nil
	}
	if c.echo != nil {
		return c.echo.exchange()
	}
	return exchange(c)
}

// open opens a connection and brings it to its state.
func (c *Idle) open(ctx context.Context, i int) (*idleConn, error) {
	d := &net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/perAddress))},
		KeepAlive: -1, // probes would wake the server
	}
	idle := new(idleConn)
	if c.State != Established {
		half, err := c.dialHalf(ctx, d, c.State)
		if err != nil {
			return nil, err
		}
		idle.Conn, idle.rest = half.tls, func() error { return half.finish(c.Target) }
	} else if conn, err := c.Dial(ctx, d); err == nil {
		idle.Conn = conn
	} else {
		return nil, err
	}
	if c.Echo {
		idle.echo = newEchoer(idle.Conn, idleSize)
	}
	if idle.rest == nil {
		if err := idle.use(); err != nil {
			return nil, err
		}
	}
	return idle, idle.SetDeadline(time.Time{})
}

// each calls f for 0 to n-1, some at a time, and returns the first error.
func each(n int, f func(i int) error) error {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(openers)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		g.Go(func() error {
			if err := f(i); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Hold calls f while a process on this core holds n connections to the server in this
// state. Afterwards each finishes its handshake, if it has not, and is used.
func Hold(ctx context.Context, cpu int, t Target, n int, state State, f func() error) error {
	h, err := process.StartTalk(ctx, cpu, append(append([]string{"idle-client"}, t.Args()...), "--connections", strconv.Itoa(n), "--state", string(state))...)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		h.Kill()
		return err
	}
	return h.Finish(new(int))
}
