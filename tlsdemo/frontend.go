package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// frontend is what "tlsdemo serve" serves with: a loopServer or a goroutineServer.
// Both answer by a responder.
type frontend interface {
	// listen begins to accept connections at the address. If systemd passed a
	// socket to the process, listen uses that instead.
	listen(addr string) (net.Addr, error)
	run() error // until it is shut down
	conns() uint64

	stopAccepting()
	// shutdown closes idle connections and waits until the requests in progress
	// have ended. When ctx ends, it returns its error.
	shutdown(ctx context.Context) error
	close() // at once

	String() string // for the first line of output
}

// loopServer serves with event loops.
type loopServer struct {
	handler loop.Handler
	group   *loop.Group
	ln      *loop.GroupListener
}

func newLoopServer(c *serveCmd, r *responder, config *tls.Config, onHandshake func(tlsConn, time.Duration, error), log *slog.Logger) (*loopServer, error) {
	group, err := loop.NewGroup(c.Loops, loop.Config{
		MaxJobs: c.MaxJobs, MaxWait: c.MaxWait, MaxConns: c.MaxConns, MaxConnsPerAddress: c.MaxConnsPerAddress,
		Backlog: c.Backlog, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	srv := newServer(r, group.Loops(), config)
	srv.HandshakeTimeout = c.HandshakeTimeout
	srv.OnHandshake = func(c *loop.TLSConn, took time.Duration, err error) { onHandshake(c, took, err) }
	h, err := srv.LoopHandler()
	if err != nil {
		return nil, err
	}
	return &loopServer{handler: h, group: group}, nil
}

func (s *loopServer) listen(addr string) (_ net.Addr, err error) {
	if s.ln, err = listen(s.group, addr, s.handler); err != nil {
		return nil, err
	}
	return s.ln.Addr(), nil
}

func (s *loopServer) run() error                         { return s.group.Run(context.Background()) }
func (s *loopServer) conns() uint64                      { return s.group.Stats().Conns }
func (s *loopServer) stopAccepting()                     { s.ln.Close() }
func (s *loopServer) shutdown(ctx context.Context) error { return s.group.Shutdown(ctx) }
func (s *loopServer) String() string                     { return fmt.Sprintf("loops: %d", len(s.group.Loops())) }

// close does not wait for loops, of which a thread may be stuck: closing the listener
// removes its socket file.
func (s *loopServer) close() {
	if s.ln != nil {
		s.ln.Close()
	}
	s.group.Close()
}
