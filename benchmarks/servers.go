//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file starts servers, and stops them. contenders.go says which there are.

// contender is a server that is measured beside others.
type contender struct {
	name  string
	start func(context.Context, serverOptions) (*server, error)
}

func (c contender) String() string { return c.name }

// serverOptions is what all contenders are given alike.
type serverOptions struct {
	cert        *certificate
	cpu         int
	idleTimeout time.Duration
	handshake   time.Duration // timeout of a handshake, and of a request; 10 seconds if 0
	threads     int           // that serve, 1 if 0
	tickets     bool          // sessions can be resumed, by tickets
	metrics     bool          // its counters can be read
}

func (o serverOptions) handshakeTimeout() time.Duration { return cmp.Or(o.handshake, handshakeTimeout) }

// server is a process under measurement.
type server struct {
	name    string
	addr    string
	said    string                                      // the line that has the address in it
	metrics string                                      // URL of its metrics, if it has any in Prometheus's format
	counts  func(context.Context) (serverCounts, error) // its counters, if they can be read
	goodbye syscall.Signal                              // that tells it to end
	cmd     *exec.Cmd
	stderr  tail
	exited  chan struct{}
	err     error // how it exited
}

func (s *server) pid() int { return s.cmd.Process.Pid }

var listenAddr = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`)

// startTimeout bounds the wait for a server's first line; making an RSA key
// takes its time.
const startTimeout = 30 * time.Second

// startServer starts a server on a core of its own and waits for the line in
// which it says where it listens; or, if addr is given, until it listens there.
// With GOMAXPROCS as many as its threads, the Go servers are on equal terms: none
// has threads that only wait for the core.
func startServer(ctx context.Context, name string, o serverOptions, addr, program string, args ...string) (*server, error) {
	s := &server{name: name, addr: addr, cmd: exec.CommandContext(ctx, program, args...), goodbye: syscall.SIGTERM, exited: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", max(o.threads, 1)))
	s.cmd.Stderr = &s.stderr
	s.cmd.SysProcAttr = endWithUs()
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := bench.OnCPU(o.cpu, s.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	said := make(chan string, 1)
	go func() {
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadString('\n')
			if listenAddr.MatchString(line) {
				said <- strings.TrimSpace(line)
				break
			}
			if err != nil {
				break
			}
		}
		io.Copy(io.Discard, r)
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if addr != "" {
		go dialUntil(ctx, s.exited, addr, said)
	}
	select {
	case s.said = <-said:
		s.addr = listenAddr.FindString(s.said)
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("%s ended before it listened: %v%s", name, s.err, s.stderr.text())
	case <-time.After(startTimeout):
		err = fmt.Errorf("%s does not listen after %v", name, startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.cmd.Process.Kill()
	<-s.exited
	return nil, fmt.Errorf("%w%s", err, s.stderr.text())
}

// dialUntil says when somebody listens at addr.
func dialUntil(ctx context.Context, exited <-chan struct{}, addr string, said chan<- string) {
	for bench.Sleep(ctx, 20*time.Millisecond) == nil {
		select {
		case <-exited:
			return
		default:
		}
		if c, err := dial(ctx, new(net.Dialer), addr); err == nil {
			c.Close()
			said <- addr
			return
		}
	}
}

// stop ends the server as an operator would. That it does not end well is an
// error: then what was measured is in doubt.
func (s *server) stop() error {
	const limit = 20 * time.Second
	s.cmd.Process.Signal(s.goodbye) // if it has exited, that shows below
	select {
	case <-s.exited:
	case <-time.After(limit):
		s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("%s did not end within %v of %v%s", s.name, limit, s.goodbye, s.stderr.text())
	}
	if s.err != nil {
		return fmt.Errorf("%s: %w%s", s.name, s.err, s.stderr.text())
	}
	return nil
}

// with starts a contender for f and stops it afterwards.
func (c contender) with(ctx context.Context, o serverOptions, f func(*server) error) error {
	progress("measuring %s", c.name)
	s, err := c.start(ctx, o)
	if err != nil {
		return err
	}
	err, stopped := f(s), s.stop()
	if ctx.Err() != nil { // that kills the server, which is no fault of its own
		return err
	}
	return errors.Join(err, stopped)
}
