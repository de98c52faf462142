//go:build linux

// Package proctest is for tests whose binary is also the servers and clients that
// they start.
package proctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"
)

// Hidden says whether the binary was started with a command, and not with flags as
// tests are.
func Hidden() bool { return len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") }

// Main is for a TestMain, which exits with what it returns. If the binary was
// started with a command, it runs that one of the commands, which are the fields of
// a struct as kong has them. Otherwise it runs the tests.
func Main(m *testing.M, commands any, options ...kong.Option) int {
	if !Hidden() {
		return Run(m)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	k := kong.Parse(commands, append(options, kong.BindTo(ctx, (*context.Context)(nil)))...)
	k.FatalIfErrorf(k.Run())
	return 0
}

// Run runs the tests, which fail if they leave a process behind.
func Run(m *testing.M) int {
	// With the race detector, each process would take a second to end.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	code := m.Run()
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		fmt.Fprintln(os.Stderr, "the tests have left a process behind")
		return 1
	}
	return code
}
