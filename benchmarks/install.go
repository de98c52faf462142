//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// This file is --install: what the peers need and is missing is fetched with
// apt-get.

// need is something that parts use, and Debian's packages that have it.
type need struct {
	program  string // in the PATH
	file     string // or a file, if there is no program
	packages []string
	service  string // that the package may start
}

var needs = []need{
	{program: "nginx", packages: []string{"nginx"}, service: "nginx"},
	{program: "haproxy", packages: []string{"haproxy"}, service: "haproxy"},
	{program: "wrk", packages: []string{"wrk"}},
	{program: "openssl", packages: []string{"openssl"}},
	// gcc only recommends the headers of the C library.
	{program: "cc", packages: []string{"gcc", "libc6-dev"}},
	{file: "/usr/include/openssl/async.h", packages: []string{"libssl-dev"}},
}

// system is what installing asks of the machine, and does to it.
type system struct {
	hasProgram func(name string) bool
	hasFile    func(name string) bool
	isRoot     bool
	isRunning  func(ctx context.Context, service string) bool
	run        func(ctx context.Context, command ...string) error
	say        func(format string, args ...any)
}

func thisSystem() system {
	return system{
		hasProgram: func(name string) bool { _, err := exec.LookPath(name); return err == nil },
		hasFile:    func(name string) bool { _, err := os.Stat(name); return err == nil },
		isRoot:     os.Geteuid() == 0,
		isRunning:  isRunning,
		run:        runCommand,
		say:        progress,
	}
}

// installTimeout bounds each command.
const installTimeout = 5 * time.Minute

// runCommand runs a command that asks nothing, and shows what it says.
func runCommand(ctx context.Context, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // standard output is for the tables
	// apt-get leaves packages half configured if it is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return err
}

// isRunning tells whether a service runs. Where services cannot be asked for,
// none does.
func isRunning(ctx context.Context, service string) bool {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	return exec.CommandContext(ctx, "service", service, "status").Run() == nil
}

// missingNeeds returns what is not there yet.
func missingNeeds(s system) []need {
	var all []need
	for _, n := range needs {
		if n.program != "" && !s.hasProgram(n.program) || n.file != "" && !s.hasFile(n.file) {
			all = append(all, n)
		}
	}
	return all
}

// installMissing fetches what is missing, and nothing else, and leaves no
// service running that was not there before.
func installMissing(ctx context.Context, s system) error {
	missing := missingNeeds(s)
	if len(missing) == 0 {
		s.say("--install: nothing is missing")
		return nil
	}
	if !s.hasProgram("apt-get") {
		return fmt.Errorf("--install needs apt-get (Debian, Ubuntu), which is not here; install with this system's means what Debian calls %s", packages(missing))
	}
	if !s.isRoot {
		return fmt.Errorf("--install needs root; run this, and then the benchmarks without it: sudo apt-get update && sudo apt-get install --no-install-recommends %s", packages(missing))
	}
	run := func(args ...string) error {
		// The lock may be another apt-get's; a server may not answer.
		command := append([]string{"apt-get", "-q", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30"}, args...)
		s.say("--install: %s", strings.Join(command, " "))
		if err := s.run(ctx, command...); err != nil {
			return fmt.Errorf("--install: %s: %w", strings.Join(command, " "), err)
		}
		return nil
	}
	if err := run("update"); err != nil {
		return err
	}
	var errs []error
	for _, n := range missing { // one by one: what apt does not have keeps back nothing else
		if err := run(append([]string{"install", "--yes", "--no-install-recommends"}, n.packages...)...); err != nil {
			s.say("%v", err)
			if ctx.Err() != nil {
				return err
			}
		}
		errs = append(errs, stopService(ctx, s, n.service))
	}
	if left := missingNeeds(s); len(left) > 0 {
		s.say("--install: still missing, so that some parts or servers will be skipped: %s", packages(left))
	}
	return errors.Join(errs...)
}

// packages are those of Debian that have all needs.
func packages(needs []need) string {
	var all []string
	for _, n := range needs {
		all = append(all, n.packages...)
	}
	return strings.Join(all, " ")
}

// stopService stops a service if its package has started it.
func stopService(ctx context.Context, s system, name string) error {
	if name == "" || !s.isRunning(ctx, name) {
		return nil
	}
	s.say("--install: its package has started the service %s, which is not needed: service %[1]s stop", name)
	s.say("--install: it starts again with the system, unless you say: systemctl disable %s", name)
	if err := s.run(ctx, "service", name, "stop"); err != nil {
		return fmt.Errorf("--install: service %s stop: %w", name, err)
	}
	return nil
}
