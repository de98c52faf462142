//go:build linux

package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// This file is --install. It fetches with apt-get what measuring needs and is
// missing.

// need is something that scenarios use, and Debian's packages that have it.
type need struct {
	what     string // a program in the PATH, or a file with its whole path
	packages string
	service  string // that the package may start
}

var needs = []need{
	{"nginx", "nginx", "nginx"},
	{"haproxy", "haproxy", "haproxy"},
	{"wrk", "wrk", ""},
	{"openssl", "openssl", ""},
	{"cc", "gcc libc6-dev", ""}, // gcc only recommends the headers of the C library
	{"/usr/include/openssl/async.h", "libssl-dev", ""},
}

// Install fetches what is missing, and nothing else, and leaves no service running
// that was not there before. It needs root and apt-get.
func Install(ctx context.Context) error {
	return installMissing(ctx, system{has: has, isRoot: os.Geteuid() == 0, run: runCommand, say: process.Progress})
}

// system is what installing asks of the machine, and does to it.
type system struct {
	has    func(what string) bool
	isRoot bool
	run    func(ctx context.Context, command ...string) error
	say    func(format string, args ...any)
}

// has says whether a need is there.
func has(what string) bool {
	if filepath.IsAbs(what) {
		_, err := os.Stat(what)
		return err == nil
	}
	_, err := exec.LookPath(what)
	return err == nil
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

// missing returns the needs that are not there, and their packages.
func (s system) missing() (all []need, packages string) {
	for _, n := range needs {
		if !s.has(n.what) {
			all = append(all, n)
			packages += " " + n.packages
		}
	}
	return all, packages
}

// installMissing is Install on some system.
func installMissing(ctx context.Context, s system) error {
	missing, packages := s.missing()
	switch {
	case missing == nil:
		s.say("--install: nothing is missing")
		return nil
	case !s.has("apt-get"):
		return fmt.Errorf("--install needs apt-get (Debian, Ubuntu), which is not here; install with this system's means what Debian calls%s", packages)
	case !s.isRoot:
		return fmt.Errorf("--install needs root; run this, and then the benchmarks without it: sudo apt-get update && sudo apt-get install --no-install-recommends%s", packages)
	}
	run := func(line string) error {
		s.say("--install: %s", line)
		if err := s.run(ctx, strings.Fields(line)...); err != nil {
			return fmt.Errorf("--install: %s: %w", line, err)
		}
		return nil
	}
	// The lock may be another apt-get's; a server may not answer.
	const apt = "apt-get -q -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "
	if err := run(apt + "update"); err != nil {
		return err
	}
	var errs []error
	for _, n := range missing { // one by one: what apt does not have keeps back nothing else
		if err := run(apt + "install --yes --no-install-recommends " + n.packages); err != nil {
			s.say("%v", err)
			if ctx.Err() != nil {
				return err
			}
		}
		// Where services cannot be asked for, none runs.
		if n.service != "" && s.run(ctx, "service", n.service, "status") == nil {
			s.say("--install: its package has started the service %s, which is not needed; it starts again with the system, unless you say: systemctl disable %[1]s", n.service)
			errs = append(errs, run("service "+n.service+" stop"))
		}
	}
	if left, packages := s.missing(); left != nil {
		s.say("--install: still missing, so that some scenarios or servers will be skipped:%s", packages)
	}
	return errors.Join(errs...)
}
