//go:build linux

package peer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Server is a process under measurement.
type Server struct {
	Name     string
	Protocol Protocol
	Addr     string
	Said     string                                // the line of output that named the address
	Cert     *Certificate                          // nil: without TLS
	Metrics  string                                // URL of its metrics, if it has any in Prometheus's format
	Counts   func(context.Context) (Counts, error) // nil: its counters cannot be read
	State    func(context.Context) (State, error)  // nil: it cannot be read
	Free     func(context.Context) error           // makes it collect garbage and give memory back; nil: it cannot be told to

	cpu     int
	goodbye syscall.Signal // tells it to end
	cmd     *process.Cmd
	exited  chan struct{}
	err     error // how it exited
}

// PID is that of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Watch says which process a client has to watch.
func (s *Server) Watch() client.Server { return client.Server{PID: s.PID(), CPU: s.cpu} }

// Target says which server a client has to load. There is no such client of gRPC.
func (s *Server) Target() client.Target {
	t := client.Target{Addr: s.Addr, Echo: s.Protocol == TLSEcho || s.Protocol == PlainEcho}
	if s.Cert != nil {
		t.SHA256 = s.Cert.SHA256
	}
	return t
}

var listenAddr = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`)

// startTimeout bounds the wait for a server's first line; making an RSA key
// takes its time.
const startTimeout = 30 * time.Second

// start starts a server on a core of its own and waits for the line in which it
// says where it listens; or, if addr is given, until it listens there. A server in
// Go gets no more threads than serve, so that none only waits for the core.
func start(ctx context.Context, name string, o Options, addr, program string, args ...string) (*Server, error) {
	s := &Server{
		Name: name, Protocol: o.Protocol, Addr: addr, Cert: o.Cert, cpu: o.CPU,
		cmd: process.Command(ctx, name, program, args...), goodbye: syscall.SIGTERM, exited: make(chan struct{}),
	}
	if o.Protocol == PlainEcho {
		s.Cert = nil
	}
	s.cmd.SetThreads(o.Threads + o.Workers)
	said := make(chan string, 1)
	s.cmd.Stdout = &listenLine{said: said}
	if err := s.cmd.StartOn(o.CPU); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if addr != "" {
		go dialUntil(ctx, s.exited, addr, said)
	}
	var err error
	select {
	case s.Said = <-said:
		s.Addr = listenAddr.FindString(s.Said)
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("%s ended before it listened: %v%s", name, s.err, s.cmd.Said())
	case <-time.After(startTimeout):
		err = fmt.Errorf("it does not listen after %v", startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.cmd.Process.Kill()
	<-s.exited
	return nil, s.cmd.Fail(err)
}

// listenLine finds the first line with an address in what a server prints.
type listenLine struct {
	said  chan<- string
	begun []byte // of a line whose end has not come
	found bool
}

func (l *listenLine) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if l.begun = append(l.begun, line...); l.found || !bytes.HasSuffix(l.begun, []byte("\n")) {
			continue
		}
		if listenAddr.Match(l.begun) {
			l.said <- string(bytes.TrimSpace(l.begun))
			l.found = true
		}
		l.begun = l.begun[:0]
	}
	if l.found || len(l.begun) > maxPage {
		l.begun = nil
	}
	return len(p), nil
}

// dialUntil dials addr until somebody listens there, and then sends it to said.
func dialUntil(ctx context.Context, exited <-chan struct{}, addr string, said chan<- string) {
	for process.Sleep(ctx, 20*time.Millisecond) == nil {
		select {
		case <-exited:
			return
		default:
		}
		if c, err := net.DialTimeout("tcp", addr, client.IOTimeout); err == nil {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			said <- addr
			return
		}
	}
}

// stop ends the server as an operator would. If it does not end well, that is an
// error, because what was measured is then in doubt.
func (s *Server) stop() error {
	const limit = 20 * time.Second
	s.cmd.Process.Signal(s.goodbye) // if it has exited, that shows below
	select {
	case <-s.exited:
	case <-time.After(limit):
		s.cmd.Process.Kill()
		<-s.exited
		s.err = fmt.Errorf("it did not end within %v of %v", limit, s.goodbye)
	}
	if s.err != nil {
		return s.cmd.Fail(s.err)
	}
	return nil
}

// With starts a peer for f and stops it afterwards. If the peer does not end well,
// that is an error, unless ctx is done.
func With(ctx context.Context, p Peer, o Options, f func(*Server) error) error {
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, DefaultTimeout)
	o.Threads = cmp.Or(o.Threads, 1)
	o.Buffer = cmp.Or(o.Buffer, 4096)
	process.Progress("measuring %s", p.Name())
	s, err := p.Start(ctx, o)
	if err != nil {
		return err
	}
	err, stopped := f(s), s.stop()
	if ctx.Err() != nil { // that kills the server, which is no fault of its own
		return err
	}
	return errors.Join(err, stopped)
}

// freeAddr returns an address that nobody listens at.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
