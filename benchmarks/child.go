//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file runs this program's own clients as processes, and keeps what
// processes say.

// clientCommand returns the command that runs one of this program's clients, and
// where its messages will be.
func clientCommand(ctx context.Context, kind string, args ...string) (*exec.Cmd, *tail, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{kind}, args...)...)
	stderr := new(tail)
	cmd.Stderr = stderr
	cmd.SysProcAttr = endWithUs()
	return cmd, stderr, nil
}

// endWithUs keeps a process from outliving this one, however it ends.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// runClient runs a client on a core of its own, to its end, and decodes what it
// prints.
func runClient(ctx context.Context, cpu int, result any, kind string, args ...string) error {
	cmd, stderr, err := clientCommand(ctx, kind, args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := bench.OnCPU(cpu, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", kind, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w%s", kind, err, stderr.text())
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("%s printed %q: %w", kind, out.Bytes(), err)
	}
	return nil
}

// tail keeps the end of what a process writes to standard error.
type tail struct{ b []byte }

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b); n > 2*tailSize {
		t.b = append(t.b[:0], t.b[n-tailSize:]...)
	}
	return len(p), nil
}

// text is for the end of an error. It is called when the process has ended.
func (t *tail) text() string {
	if len(t.b) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(t.b[max(len(t.b)-tailSize, 0):]))
}
