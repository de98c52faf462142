//go:build linux

// Package process starts the processes that a measurement needs, keeps each on a
// core of its own, and says what they use.
//
//   - run.go starts a process and waits for its end
//   - cores.go chooses cores
//   - usage.go reads CPU time and memory
//   - watch.go takes these again and again while a load lasts
//   - machine.go describes the machine
//   - build.go builds tlsdemo
package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Cmd is a command whose process ends when this one does, whatever happens. It
// keeps the end of what the process writes to standard error.
type Cmd struct {
	*exec.Cmd
	Name   string // in errors
	stderr tail
}

// Command returns a command that ends with ctx.
func Command(ctx context.Context, name, program string, args ...string) *Cmd {
	c := &Cmd{Cmd: exec.CommandContext(ctx, program, args...), Name: name}
	c.Cmd.Stderr = &c.stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = 5 * time.Second // for a child of its own that holds its output, such as that of a script
	return c
}

// Self returns a command that runs this program with one of its hidden commands.
func Self(ctx context.Context, args ...string) (*Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Command(ctx, args[0], self, args...), nil
}

// SetThreads sets GOMAXPROCS. A process in Go that has a core to itself gets 1, so
// that it has no threads that only wait for the core.
func (c *Cmd) SetThreads(n int) {
	c.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", n))
}

// StartOn starts the process on a core, or on any if cpu is negative.
func (c *Cmd) StartOn(cpu int) error {
	if err := OnCPU(cpu, c.Start); err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	return nil
}

// Said is what the process wrote to standard error, to be put after an error. Call
// it when the process has ended.
func (c *Cmd) Said() string { return c.stderr.text() }

// Fail makes the error of a process that has ended: what it wrote says why.
func (c *Cmd) Fail(err error) error { return fmt.Errorf("%s: %w%s", c.Name, err, c.Said()) }

// Decode reads the JSON that the process has printed.
func (c *Cmd) Decode(out []byte, result any) error {
	if err := json.Unmarshal(out, result); err != nil {
		return c.Fail(fmt.Errorf("it printed %.1000q: %w", out, err))
	}
	return nil
}

// Ended describes a process that has ended.
type Ended struct {
	Out  []byte        // what it printed
	Took time.Duration // from its start to its end
	CPU  time.Duration // its CPU time
}

// Run runs the process on a core to its end. A status other than 0 is an error;
// Ended is filled in all the same.
func (c *Cmd) Run(cpu int) (Ended, error) {
	var out bytes.Buffer
	c.Stdout = &out
	begin := time.Now()
	if err := c.StartOn(cpu); err != nil {
		return Ended{}, err
	}
	err := c.Wait()
	e := Ended{Out: out.Bytes(), Took: time.Since(begin), CPU: c.ProcessState.UserTime() + c.ProcessState.SystemTime()}
	if err != nil {
		err = c.Fail(err)
	}
	return e, err
}

// RunSelf runs one of this program's hidden commands on a core to its end, and
// decodes the JSON that it prints.
func RunSelf(ctx context.Context, cpu int, result any, args ...string) error {
	cmd, err := Self(ctx, args...)
	if err != nil {
		return err
	}
	cmd.SetThreads(1)
	e, err := cmd.Run(cpu)
	if err != nil {
		return err
	}
	return cmd.Decode(e.Out, result)
}

// Talk is one of this program's hidden commands that prints two lines: one when
// it is ready (see SayReady), and at its end its result, in JSON.
type Talk struct {
	*Cmd
	in  io.Closer
	out *bufio.Reader
}

// StartTalk starts a hidden command on a core, and waits until it is ready.
func StartTalk(ctx context.Context, cpu int, args ...string) (*Talk, error) {
	cmd, err := Self(ctx, args...)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.StartOn(cpu); err != nil {
		return nil, err
	}
	t := &Talk{cmd, in, bufio.NewReader(out)}
	if _, err := t.out.ReadString('\n'); err != nil { // it ends
		return nil, t.Finish(new(any))
	}
	return t, nil
}

// SayReady prints the line that StartTalk waits for.
func SayReady() error {
	_, err := fmt.Println("ready")
	return err
}

// Finish closes the process's standard input, which tells a process that waits for
// this to go on. It waits for the end of the process and decodes its result.
func (t *Talk) Finish(result any) error {
	t.in.Close()
	out, err := io.ReadAll(t.out)
	if werr := t.Wait(); werr != nil { // it says more than the error of a broken pipe
		err = werr
	}
	if err != nil {
		return t.Fail(err)
	}
	return t.Decode(out, result)
}

// Kill ends the process before its time.
func (t *Talk) Kill() {
	t.Process.Kill()
	t.Wait()
}

// Progress tells whoever waits what is being done.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// tail keeps the end of what a process writes.
type tail struct{ b []byte }

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(len(t.b)-tailSize, 0):]
	return len(p), nil
}

func (t *tail) text() string {
	if len(t.b) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(t.b))
}
