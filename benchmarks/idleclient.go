//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// idleClient is the process that holds idle connections. Nothing in it runs
// while they are idle.
type idleClient struct {
	Addr        string `arg:""`
	Connections int
	Serial      int64
}

const (
	openers = 32 // connections that are being opened at a time

	// One local address has 28,000 ports by default. Connections beyond that
	// come from 127.0.0.3 and so on, which are this machine's as well.
	perAddress = 20_000
)

func (c *idleClient) Run(ctx context.Context) error {
	conns := make([]*tls.Conn, c.Connections)
	err := each(len(conns), func(i int, buf []byte) (err error) {
		conns[i], err = c.open(ctx, i, buf)
		return err
	})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(idleReport{Open: len(conns)}); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin) // until it is closed
	err = each(len(conns), func(i int, buf []byte) error {
		conns[i].SetDeadline(time.Now().Add(ioTimeout))
		return exchange(conns[i], buf)
	})
	if err != nil {
		return fmt.Errorf("after the idle time: %w", err)
	}
	return out.Encode(idleReport{Alive: true})
}

func (c *idleClient) open(ctx context.Context, i int, buf []byte) (*tls.Conn, error) {
	d := &net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/perAddress))},
		KeepAlive: -1, // probes would wake the server
	}
	nc, err := dial(ctx, d, c.Addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(nc, clientConfig)
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	if err := checkHandshake(t, big.NewInt(c.Serial)); err != nil {
		return nil, err
	}
	if err := exchange(t, buf); err != nil {
		return nil, err
	}
	return t, t.SetDeadline(time.Time{})
}

// each calls f for 0 to n-1, some at a time, and returns the first error.
func each(n int, f func(i int, buf []byte) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	var once sync.Once
	var first error
	for range openers {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i, buf); err != nil {
					once.Do(func() { first = fmt.Errorf("connection %d: %w", i, err) })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}
