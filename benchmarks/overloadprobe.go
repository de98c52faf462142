//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file is the connection that was there before the overload: a process that
// makes one TLS connection and sends a request on it at fixed moments.

// probeInterval is how often it does.
const probeInterval = 10 * time.Millisecond

// requestProbe is that process. Like probe it is a thread in ppoll(2) that goes
// before the others of its core, and each request counts from the moment at which
// it was due.
type requestProbe struct {
	Addr     string `arg:""`
	Interval time.Duration
	Warmup   time.Duration
	Duration time.Duration
}

// probeReady is what it says when the connection is there, before it begins.
const probeReady = "ready"

func (p *requestProbe) Run(context.Context) error {
	runtime.LockOSThread() // for good
	conn, raw, err := p.connect()
	if err != nil {
		return fmt.Errorf("request probe: connect to %s: %w", p.Addr, err)
	}
	defer raw.Close()
	res := &probeResult{Realtime: realtime() == nil}
	fmt.Println(probeReady)
	if err := p.measure(conn, raw, res); err != nil {
		return fmt.Errorf("request probe: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// connect makes the connection. Who it is with does not matter: nobody else can
// have the server's address.
func (p *requestProbe) connect() (*tls.Conn, *polledConn, error) {
	fd, err := (&probe{Addr: p.Addr}).connect()
	if err != nil {
		return nil, nil, err
	}
	raw := &polledConn{fd: fd, until: time.Now().Add(ioTimeout)}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return conn, raw, nil
}

// measure sends the requests and awaits all answers.
func (p *requestProbe) measure(conn *tls.Conn, raw *polledConn, res *probeResult) error {
	times := newProbeTimes()
	first := int(p.Warmup / p.Interval) // that counts
	total := first + int(p.Duration/p.Interval)
	due := func(n int) time.Duration { return time.Duration(n) * p.Interval }
	begin := time.Now()
	var answers []byte
	buf := make([]byte, 16<<10)
	for sent, answered := 0, 0; answered < total; {
		for now := time.Since(begin); sent < total && due(sent) <= now; sent++ {
			raw.until = time.Now().Add(ioTimeout)
			if _, err := conn.Write(request); err != nil {
				return fmt.Errorf("send number %d of %d, %d are answered: %w", sent, total, answered, err)
			}
			if sent >= first {
				times.late(time.Since(begin) - due(sent))
			}
		}
		raw.until = begin.Add(due(total) + ioTimeout)
		if sent < total {
			raw.until = begin.Add(due(sent))
		}
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && sent < total {
			continue
		}
		if err != nil {
			return fmt.Errorf("after %d of %d answers: %w", answered, total, err)
		}
		now := time.Since(begin)
		answers = append(answers, buf[:n]...)
		for {
			length, err := answerLength(answers)
			if err != nil {
				return err
			}
			if length == 0 || length > len(answers) {
				break
			}
			answers = answers[:copy(answers, answers[length:])]
			if answered >= sent {
				return errors.New("an answer to nothing")
			}
			if answered >= first {
				times.answer(now - due(answered))
			}
			answered++
		}
	}
	times.sum(res)
	return nil
}

// polledConn is a connection whose reads and writes wait in ppoll(2), until a
// moment.
type polledConn struct {
	net.Conn // nil: crypto/tls needs no more of it than what is below
	fd       int
	until    time.Time
}

func (c *polledConn) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
		if err := c.wait(unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

func (c *polledConn) Write(b []byte) (int, error) {
	for done := 0; ; {
		n, err := unix.Write(c.fd, b[done:])
		if done += max(n, 0); done == len(b) {
			return done, nil
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return done, os.NewSyscallError("write", err)
		}
		if err := c.wait(unix.POLLOUT); err != nil {
			return done, err
		}
	}
}

func (c *polledConn) Close() error { return unix.Close(c.fd) }

func (c *polledConn) wait(events int16) error {
	left := time.Until(c.until)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	ts := unix.NsecToTimespec(left.Nanoseconds())
	_, err := unix.Ppoll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, &ts, nil)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return os.NewSyscallError("ppoll", err)
}

// echoProcess is a requestProbe that runs.
type echoProcess struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *tail
}

// errNoEcho is of a connection that could not be made before the load.
var errNoEcho = errors.New("the connection that is to be there before the load")

// startEcho starts the connection that is there before the load, and returns when
// it is.
func (o *options) startEcho(ctx context.Context, s *server, warmup, duration time.Duration) (*echoProcess, error) {
	cmd, stderr, err := clientCommand(ctx, "request-probe", s.addr, "--interval", probeInterval.String(),
		"--warmup", warmup.String(), "--duration", duration.String())
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := bench.OnCPU(o.ClientCPU, cmd.Start); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEcho, err)
	}
	e := &echoProcess{cmd, bufio.NewReader(out), stderr}
	if line, err := e.stdout.ReadString('\n'); strings.TrimSpace(line) != probeReady {
		return nil, fmt.Errorf("%w: it says %q: %w%s", errNoEcho, line, errors.Join(err, e.kill()), stderr.text())
	}
	return e, nil
}

// kill ends it before its time.
func (e *echoProcess) kill() error {
	e.cmd.Process.Kill()
	return e.cmd.Wait()
}

// result waits for its end, and returns what it found out, or why it has not.
// That a server in overload ends an old connection is a result, too.
func (e *echoProcess) result() (res *probeResult, failed string) {
	out, err := io.ReadAll(e.stdout)
	if err := errors.Join(err, e.cmd.Wait()); err != nil {
		return nil, fmt.Sprintf("%v%s", err, e.stderr.text())
	}
	res = new(probeResult)
	if err := json.Unmarshal(out, res); err != nil {
		return nil, fmt.Sprintf("it printed %q", out)
	}
	return res, ""
}
