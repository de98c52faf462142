//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file runs "tlsdemo load", which is the client of the parts about
// handshakes.

// loadProgram returns the tlsdemo whose "load" is the client: always this
// checkout's, so that another build that is measured (--tlsdemo) has the same
// client.
func (o *options) loadProgram(ctx context.Context, dir string) (string, error) {
	return buildTlsdemo(ctx, dir)
}

// errLoad is of a load that could not begin, errEndedEarly of one that did not do
// what it was to: its figures are of something else.
var (
	errLoad       = errors.New("it could not begin")
	errEndedEarly = errors.New("it ended early")
)

// load runs "tlsdemo load" on the clients' core, to its end, and returns what it
// measured. That handshakes failed is no error: it is in the result.
func (o *options) load(ctx context.Context, program string, args ...string) (*load.Result, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"load", "--quiet", "--json", "-"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = endWithUs()
	var out bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := bench.OnCPU(o.ClientCPU, cmd.Start); err != nil {
		return nil, fmt.Errorf("start tlsdemo load: %w", err)
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("tlsdemo load: %w", context.Cause(ctx))
	}
	// 1 is its status when it could not begin, and when handshakes failed.
	var exit *exec.ExitError
	switch one := errors.As(err, &exit) && exit.ExitCode() == 1; {
	case one && out.Len() == 0:
		return nil, fmt.Errorf("tlsdemo load %q: %w: %w%s", args, errLoad, err, stderr.text())
	case err != nil && !one:
		return nil, fmt.Errorf("tlsdemo load %q: %w%s", args, err, stderr.text())
	}
	res := new(load.Result)
	if err := json.Unmarshal(out.Bytes(), res); err != nil {
		return nil, fmt.Errorf("tlsdemo load %q printed %.1000q: %w%s", args, out.Bytes(), err, stderr.text())
	}
	if res.Stopped != "" {
		return nil, fmt.Errorf("tlsdemo load %q: %w: %s, after %d handshakes", args, errEndedEarly, res.Stopped, res.Handshakes)
	}
	return res, nil
}
