//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file runs processes on a core of their own, and says what the kernel
// knows of them: their CPU time and memory.

// command returns the command that runs this program as one of its processes,
// and where its messages will be. With GOMAXPROCS=1 none has threads that only
// wait for the core.
func command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive this one
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr, nil
}

// ended makes the error of a process that has ended: what it wrote says why.
func ended(name string, err error, stderr *bytes.Buffer) error {
	if said := strings.TrimSpace(stderr.String()); said != "" {
		return fmt.Errorf("%s: %w\n%s", name, err, said[max(len(said)-4096, 0):])
	}
	return fmt.Errorf("%s: %w", name, err)
}

// runClient runs a client on a core, to its end, and decodes what it prints.
func runClient(ctx context.Context, cpu int, result any, args ...string) error {
	cmd, stderr, err := command(ctx, args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := bench.OnCPU(cpu, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return ended(args[0], err, stderr)
	}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return fmt.Errorf("%s printed %.1000q: %w", args[0], out.Bytes(), err)
	}
	return nil
}

// watched is the process whose CPU time a client takes, as flags of the client.
type watched struct {
	PID  int `name:"pid"`
	Core int `default:"-1"` // the server's, if it has one to itself
}

func (w watched) args() []string {
	return []string{"--pid", strconv.Itoa(w.PID), fmt.Sprintf("--core=%d", w.Core)} // kong takes "--core -1" for two flags
}

// usage is what a server and the client have used up to a moment, or between
// two.
type usage struct {
	when    time.Time
	Elapsed time.Duration `json:"elapsed_ns"`
	Server  time.Duration `json:"server_cpu_ns"`
	Client  time.Duration `json:"client_cpu_ns"`
	core    time.Duration // for which the server's core was taken
	Other   time.Duration `json:"other_cpu_ns"` // that others took of the server's core
}

func (w watched) take() (u usage, err error) {
	if w.Core >= 0 {
		if u.core, err = bench.CoreTime(w.Core); err != nil {
			return u, err
		}
	}
	if u.Client, err = bench.CPUTime(os.Getpid()); err != nil {
		return u, err
	}
	if u.Server, err = bench.CPUTime(w.PID); err != nil {
		return u, err
	}
	u.when = time.Now()
	return u, nil
}

func (u usage) sub(before usage) usage {
	d := usage{Elapsed: u.when.Sub(before.when), Server: u.Server - before.Server, Client: u.Client - before.Client}
	if u.core > 0 {
		d.Other = max(u.core-before.core-d.Server, 0)
	}
	return d
}

// percentOf is a part of the time that was measured, in percent.
func (u usage) percentOf(d time.Duration) float64 {
	return 100 * d.Seconds() / u.Elapsed.Seconds()
}

// used is for those that embed a usage.
func (u usage) used() usage { return u }

// usages collects what was used in all rounds.
func usages[R interface{ used() usage }](all []*series[R]) (us []usage) {
	for _, s := range all {
		for _, r := range s.Rounds {
			us = append(us, r.used())
		}
	}
	return us
}

// progress tells whoever waits what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
