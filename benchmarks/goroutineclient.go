//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// goroutineClient is the process that makes handshakes in the plain way: a
// goroutine for each connection, which blocks in crypto/tls.
type goroutineClient struct {
	Addr        string `arg:""`
	Connections int
	Duration    time.Duration
	Curve       string `enum:"X25519,default" default:"default"`
}

func (g *goroutineClient) Run(ctx context.Context) error {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if g.Curve == "X25519" {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	ctx, cancel := context.WithTimeout(ctx, g.Duration)
	defer cancel()
	var handshakes atomic.Int64
	errs := make([]error, g.Connections)
	var wg sync.WaitGroup
	for i := range g.Connections {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = g.handshake(config)
				handshakes.Add(1)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"total": map[string]int64{"handshakes": handshakes.Load()}})
}

func (g *goroutineClient) handshake(config *tls.Config) error {
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(0)
	c.SetDeadline(time.Now().Add(ioTimeout))
	return tls.Client(c, config).Handshake()
}
