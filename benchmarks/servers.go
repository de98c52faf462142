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
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// contender is a server that is measured beside others.
type contender struct {
	name  string
	start func(context.Context, serverOptions) (*server, error)
}

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

// Names of servers, on the command line and in the tables.
const (
	nameJobloop     = "jobloop"
	nameMultibuffer = "jobloop-multibuffer"
	nameOffload     = "jobloop-offload"
	nameGoroutines  = "goroutines"
	nameFrugal      = "goroutines-frugal"
	nameNginx       = "nginx"
	nameHAProxy     = "haproxy"
)

// engines has our servers' names, and the key engine each runs with.
var engines = map[string]string{
	nameJobloop:     "none",
	nameMultibuffer: "multibuffer",
	nameOffload:     "offload",
}

// jobloop is our server under one of its names: tlsdemo serve, with a loop for
// each thread. It gives tickets to whoever asks.
func jobloop(name, program string) contender {
	return contender{name, func(ctx context.Context, o serverOptions) (*server, error) {
		engine := engines[name]
		args := []string{"serve", "--addr", "127.0.0.1:0", "--loops", strconv.Itoa(max(o.threads, 1)), "--engine", engine, "--cert", o.cert.certFile,
			"--keyfile", o.cert.keyFile, "--idle-timeout", o.idleTimeout.String(),
			"--handshake-timeout", o.handshakeTimeout().String(), "--request-timeout", o.handshakeTimeout().String()}
		metrics := ""
		if o.metrics {
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			args = append(args, "--metrics", addr)
			metrics = "http://" + addr + "/metrics"
		}
		s, err := startServer(ctx, name, o, "", program, args...)
		if err != nil {
			return nil, err
		}
		if o.metrics {
			s.metrics = metrics
			s.counts = func(ctx context.Context) (serverCounts, error) { return scrapeCounts(ctx, metrics, jobloopCounts) }
		}
		// It serves without the engine too, if it has to.
		if !strings.Contains(s.said, "engine: "+engine+" ") {
			return nil, errors.Join(fmt.Errorf("it serves without the engine %s: %s", engine, s.said), s.stop())
		}
		return s, nil
	}}
}

// goPeer is one of the servers in peers.go.
func goPeer(kind string) contender {
	return contender{kind, func(ctx context.Context, o serverOptions) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args := []string{"peer", kind, "--cert", o.cert.certFile, "--keyfile", o.cert.keyFile,
			"--idle-timeout", o.idleTimeout.String(), "--handshake-timeout", o.handshakeTimeout().String()}
		if o.tickets {
			args = append(args, "--tickets")
		}
		var counts func(context.Context) (serverCounts, error)
		if o.metrics {
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			args = append(args, "--metrics", addr)
			counts = func(ctx context.Context) (serverCounts, error) {
				return scrapeCounts(ctx, "http://"+addr+"/", peerCounts)
			}
		}
		s, err := startServer(ctx, kind, o, "", self, args...)
		if err == nil {
			s.counts = counts
		}
		return s, err
	}}
}

// contenders returns the servers of these names.
func (o *options) contenders(ctx context.Context, dir string, names []string) ([]contender, error) {
	all := make([]contender, len(names))
	program := ""
	for i, name := range names {
		switch {
		case engines[name] != "":
			if program == "" {
				var err error
				if program, err = o.program(ctx, dir); err != nil {
					return nil, err
				}
			}
			all[i] = jobloop(name, program)
		case name == nameNginx:
			all[i] = nginx(dir)
		case name == nameHAProxy:
			all[i] = haproxy(dir)
		default:
			all[i] = goPeer(name)
		}
	}
	return all, nil
}

// runnable returns the servers of those named that can run here with a key of
// this kind, and says of each other why not. It is an error if none can.
func runnable(names []string, key string) (can, notes []string, _ error) {
	for _, name := range names {
		var err error
		switch name {
		case nameNginx, nameHAProxy:
			_, err = exec.LookPath(name)
		case nameMultibuffer:
			if err = multibuffer.Supported(); err == nil && !strings.HasPrefix(key, "rsa") {
				err = errors.New("its engine is for RSA keys")
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: SKIPPED: %v.", name, err))
			continue
		}
		can = append(can, name)
	}
	if len(can) == 0 {
		return nil, nil, fmt.Errorf("nothing to measure: %s", strings.Join(notes, " "))
	}
	return can, notes, nil
}

// program returns the tlsdemo to measure, which it builds in dir if none was
// named.
func (o *options) program(ctx context.Context, dir string) (string, error) {
	if o.Tlsdemo != "" {
		return o.Tlsdemo, nil
	}
	return buildTlsdemo(ctx, dir)
}

// buildTlsdemo builds this checkout's tlsdemo in dir, if it is not there yet.
func buildTlsdemo(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "tlsdemo")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	progress("building tlsdemo")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/jobloop/jobloop/tlsdemo")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tlsdemo (run this inside the module): %w\n%s", err, out)
	}
	return program, nil
}

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
	if err := onCPU(o.cpu, s.cmd.Start); err != nil {
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
	for pause(ctx, 20*time.Millisecond) == nil {
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
	return errors.Join(f(s), s.stop())
}
