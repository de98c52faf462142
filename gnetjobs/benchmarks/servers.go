//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file starts servers as processes, tells them what to do, and stops them.
// What they are is in serverprocess.go.

// Names of servers, on the command line and in the tables.
const (
	nameGnetjobs    = "gnetjobs"
	nameMultibuffer = "gnetjobs-multibuffer"
	nameJob         = "gnetjobs-job" // a Job for each connection
	nameGoroutines  = "goroutines"
	nameGnet        = "gnet"
)

// server is a process under measurement.
type server struct {
	name   string
	addr   string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	in     io.WriteCloser
	says   chan said // closed when it has ended
	err    error     // how
}

// said is a line of a server's standard output.
type said struct {
	Addr  string  `json:"addr,omitempty"`  // where it listens
	Freed bool    `json:"freed,omitempty"` // garbage was collected, and its memory given back
	Ended *counts `json:"ended,omitempty"` // its last words
}

// counts are what a server knows of its clients.
type counts struct {
	Handshakes int64  `json:"handshakes"`
	Failed     int64  `json:"failed"`
	FirstError string `json:"first_error,omitempty"`
}

// What a server is told, as lines of its standard input. At the end of it, it
// ends.
const tellFree = "free"

// answerTimeout bounds the wait for a server's answer.
const answerTimeout = 30 * time.Second

// startServer starts a server on a core and waits until it listens. cert is nil
// if it is one without TLS.
func startServer(ctx context.Context, name string, cert *certificate, buffer, cpu int) (*server, error) {
	args := []string{"server", name, "--buffer", strconv.Itoa(buffer)}
	if cert != nil {
		args = append(args, "--cert", cert.certFile, "--keyfile", cert.keyFile)
	}
	cmd, stderr, err := command(ctx, args...)
	if err != nil {
		return nil, err
	}
	s := &server{name: name, cmd: cmd, stderr: stderr, says: make(chan said)}
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := bench.OnCPU(cpu, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(s.says)
		lines := json.NewDecoder(out)
		for {
			var line said
			err := lines.Decode(&line)
			if err == nil {
				s.says <- line
				continue
			}
			if !errors.Is(err, io.EOF) {
				s.err = fmt.Errorf("what it said: %w", err)
				cmd.Process.Kill()
			}
			s.err = cmp.Or(s.err, cmd.Wait())
			return
		}
	}()
	line, err := s.answer()
	if err == nil && line.Addr == "" {
		err = s.kill(fmt.Errorf("it said %+v instead of where it listens", line))
	}
	s.addr = line.Addr
	return s, err
}

// tell sends the server a line and waits for its answer.
func (s *server) tell(line string) (said, error) {
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		return said{}, s.kill(err)
	}
	return s.answer()
}

func (s *server) answer() (said, error) {
	select {
	case line, ok := <-s.says:
		if !ok {
			return line, ended(s.name, cmp.Or(s.err, errors.New("it has ended")), s.stderr)
		}
		return line, nil
	case <-time.After(answerTimeout):
		return said{}, s.kill(fmt.Errorf("no answer in %v", answerTimeout))
	}
}

// kill ends the server after an error.
func (s *server) kill(err error) error {
	s.cmd.Process.Kill()
	for range s.says {
	}
	return ended(s.name, err, s.stderr)
}

// stop has the server end, and compares what it has counted with the handshakes
// that its clients have completed. That it ends in another way is an error: then
// what was measured is in doubt.
func (s *server) stop(handshakes int64) error {
	s.in.Close()
	line, err := s.answer()
	if err != nil {
		return err
	}
	if line.Ended == nil {
		return s.kill(fmt.Errorf("it said %+v instead of ending", line))
	}
	if more, err := s.answer(); err == nil {
		return s.kill(fmt.Errorf("it said %+v after its end", more))
	}
	if s.err != nil {
		return ended(s.name, s.err, s.stderr)
	}
	return line.Ended.check(s.name, handshakes)
}

// check compares with what the clients have counted.
func (c *counts) check(name string, handshakes int64) error {
	switch {
	case c.Failed > 0:
		return fmt.Errorf("%s: %d handshakes failed, the first: %s", name, c.Failed, c.FirstError)
	case c.Handshakes != handshakes:
		return fmt.Errorf("%s counted %d handshakes, its clients %d", name, c.Handshakes, handshakes)
	}
	return nil
}

// with starts a server for f, which returns how many handshakes it has
// completed, and stops it afterwards.
func (m *measure) with(ctx context.Context, name string, cert *certificate, buffer int, f func(*server) (handshakes int64, err error)) error {
	if !hasTLS(name) {
		cert = nil
	}
	s, err := startServer(ctx, name, cert, buffer, m.ServerCPU)
	if err != nil {
		return err
	}
	handshakes, err := f(s)
	if err != nil { // what the server has counted says nothing then
		return s.kill(err)
	}
	return s.stop(handshakes)
}

// hasTLS says whether a server speaks TLS.
func hasTLS(name string) bool { return name != nameGnet }
