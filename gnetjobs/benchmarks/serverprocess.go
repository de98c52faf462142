//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/gnetjobs"
)

// This file has the servers. All echo what they receive, and those with TLS
// have the same configuration.

// serverProcess is the process that is one of them.
type serverProcess struct {
	Kind    string `arg:"" enum:"gnetjobs,gnetjobs-job,gnetjobs-multibuffer,goroutines,gnet"`
	Cert    string
	Keyfile string
	Buffer  int // of the connections that code which blocks serves
}

func (p *serverProcess) Run() error {
	var c counter
	addr, stop, err := p.start(&c)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := errors.Join(out.Encode(said{Addr: addr}), obey(os.Stdin, out), stop()); err != nil {
		return err
	}
	return out.Encode(said{Ended: c.get()})
}

// obey does what it is told by lines of in until there are no more.
func obey(in io.Reader, out *json.Encoder) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() != tellFree {
			return fmt.Errorf("told %q", lines.Text())
		}
		debug.FreeOSMemory()
		if err := out.Encode(said{Freed: true}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// start starts the server on a port that the system gives.
func (p *serverProcess) start(c *counter) (addr string, stop func() error, err error) {
	var config *tls.Config
	if hasTLS(p.Kind) {
		if config, err = p.tlsConfig(); err != nil {
			return "", nil, err
		}
	}
	switch p.Kind {
	case nameGnet:
		return startGnet(func(h *gnetEcho) gnet.EventHandler { return h })
	case nameGnetjobs, nameJob, nameMultibuffer:
		return startGnet(func(echo *gnetEcho) gnet.EventHandler {
			var h gnet.EventHandler = echo
			if p.Kind == nameJob {
				h = &jobEcho{echo, p.Buffer}
			}
			return gnetjobs.TLS(h, config, gnetjobs.Options{
				OnHandshake: func(_ gnet.Conn, _ time.Duration, err error) { c.add(err) },
			})
		})
	case nameGoroutines:
		return startGoroutines(config, p.Buffer, c)
	}
	return "", nil, fmt.Errorf("no server %q", p.Kind)
}

// tlsConfig returns the configuration of all servers. What is not set is
// crypto/tls's default.
func (p *serverProcess) tlsConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(p.Cert, p.Keyfile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	if p.Kind != nameMultibuffer {
		config.Certificates = []tls.Certificate{cert}
		return config, nil
	}
	eng, err := multibuffer.New(multibuffer.Config{})
	if err != nil {
		return nil, err
	}
	if cert.PrivateKey, err = eng.Key(cert.PrivateKey.(crypto.Signer)); err != nil {
		return nil, err
	}
	config.GetCertificate = engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	return config, nil
}

// gnetEcho is the handler of the servers on gnet, with TLS and without.
type gnetEcho struct {
	gnet.BuiltinEventEngine
	booted chan<- booted
}

type booted struct {
	engine gnet.Engine
	addr   string
	err    error
}

func (h *gnetEcho) OnBoot(e gnet.Engine) gnet.Action {
	addr, err := listenAddr(e)
	h.booted <- booted{e, addr, err}
	return gnet.None
}

// listenAddr asks the listening socket for the port the system has given it:
// gnet does not tell.
func listenAddr(e gnet.Engine) (string, error) {
	fd, err := e.Dup()
	if err != nil {
		return "", fmt.Errorf("gnet's listener: %w", err)
	}
	defer unix.Close(fd)
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	in4, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("gnet listens on a %T", sa)
	}
	return (&net.TCPAddr{IP: in4.Addr[:], Port: in4.Port}).String(), nil
}

func (h *gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	b, err := c.Next(-1)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		return gnet.Close
	}
	return gnet.None
}

// jobEcho serves each connection by the goroutine server's code, in a job.
type jobEcho struct {
	*gnetEcho
	buffer int
}

func (h *jobEcho) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if err := gnetjobs.Job(c, func(nc net.Conn) error { return echoBlocking(nc, h.buffer) }); err != nil {
		return nil, gnet.Close
	}
	return nil, gnet.None
}

// stderrLogger writes what gnet complains of to standard error. gnet itself would
// write to standard output, where the benchmark reads.
type stderrLogger struct{}

func (stderrLogger) Debugf(string, ...any)             {}
func (stderrLogger) Infof(string, ...any)              {}
func (stderrLogger) Warnf(format string, args ...any)  { log.Printf(format, args...) }
func (stderrLogger) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (stderrLogger) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

// startGnet starts an echo server on gnet with one event loop. With ReusePort
// that loop accepts its connections itself, else another one did, on a thread
// of its own.
func startGnet(wrap func(*gnetEcho) gnet.EventHandler) (addr string, stop func() error, err error) {
	up := make(chan booted, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- gnet.Run(wrap(&gnetEcho{booted: up}), "tcp4://127.0.0.1:0",
			gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithLogger(stderrLogger{}))
	}()
	var b booted
	select {
	case b = <-up:
	case err := <-ended:
		return "", nil, fmt.Errorf("gnet: %w", err)
	}
	stop = func() error {
		go b.engine.Stop(context.Background()) // it looks twice a second whether the engine has stopped
		select {
		case err := <-ended:
			return err
		case <-time.After(answerTimeout / 2):
			return errors.New("gnet does not stop")
		}
	}
	if b.err != nil {
		return "", nil, errors.Join(b.err, stop())
	}
	return b.addr, stop, nil
}

// startGoroutines starts the server that an event loop replaces: a goroutine for
// each connection, which blocks in crypto/tls.
func startGoroutines(config *tls.Config, buffer int, c *counter) (addr string, stop func() error, err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	accepting := make(chan error, 1)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				accepting <- err
				return
			}
			go serveGoroutine(nc, config, buffer, c)
		}
	}()
	stop = func() error {
		ln.Close()
		if err := <-accepting; !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil // the connections end with the process, if the clients have left any
	}
	return ln.Addr().String(), stop, nil
}

// handshakeTimeout is gnetjobs's default, too.
const handshakeTimeout = 10 * time.Second

func serveGoroutine(nc net.Conn, config *tls.Config, buffer int, c *counter) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(handshakeTimeout))
	t := tls.Server(nc, config)
	err := t.Handshake()
	c.add(err)
	if err != nil {
		return
	}
	nc.SetDeadline(time.Time{})
	defer t.Close()
	echoBlocking(t, buffer)
}

func echoBlocking(c net.Conn, buffer int) error {
	b := make([]byte, buffer)
	for {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
}

// counter counts handshakes.
type counter struct {
	mu sync.Mutex
	n  counts
}

func (c *counter) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.n.Handshakes++
		return
	}
	c.n.Failed++
	if c.n.FirstError == "" {
		c.n.FirstError = err.Error()
	}
}

func (c *counter) get() *counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	return &n
}
