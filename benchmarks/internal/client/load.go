//go:build linux

// Package client has what loads the servers, each a process of its own:
//
//   - load.go runs "tlsdemo load", which makes handshakes and requests
//   - handshake.go says what a handshake must be like, and checks that it was
//   - watched.go watches a server during a load
//   - goroutines.go makes handshakes in the plain way, to compare with tlsdemo load
//   - idle.go holds connections that do nothing
//   - halfopen.go is a connection that stops in the middle of its handshake
//   - echo.go sends messages and compares their echoes
//   - probe.go is one connection that asks at fixed moments
//   - vanishing.go is a connection whose client leaves at some moment
//   - exchange.go is what those written here have in common
package client

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/load"
)

// ErrLoad means that a load could not begin. ErrEndedEarly means that it did not do
// all that it should have, so that its figures are of something else.
var (
	ErrLoad       = errors.New("it could not begin")
	ErrEndedEarly = errors.New("it ended early")
)

// Load is "tlsdemo load".
type Load struct {
	Program string
	CPU     int // the core it runs on; negative: any
}

// Run runs a load to its end and returns what it measured. Handshakes that failed
// are no error: they are in the result.
func (l Load) Run(ctx context.Context, args ...string) (*load.Result, error) {
	cmd := process.Command(ctx, fmt.Sprintf("tlsdemo load %q", args), l.Program, append([]string{"load", "--quiet", "--json", "-"}, args...)...)
	cmd.SetThreads(1)
	e, err := cmd.Run(l.CPU)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("tlsdemo load: %w", context.Cause(ctx))
	}
	// Its status is 1 when it could not begin, and when handshakes failed.
	var exit *exec.ExitError
	switch one := errors.As(err, &exit) && exit.ExitCode() == 1; {
	case one && len(e.Out) == 0:
		return nil, fmt.Errorf("%w: %w", ErrLoad, err)
	case err != nil && !one:
		return nil, err
	}
	res := new(load.Result)
	if err := cmd.Decode(e.Out, res); err != nil {
		return nil, err
	}
	if res.Stopped != "" {
		return nil, cmd.Fail(fmt.Errorf("%w: %s, after %d handshakes", ErrEndedEarly, res.Stopped, res.Handshakes))
	}
	return res, nil
}
