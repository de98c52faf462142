package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/internal/report"
)

// This file does a run, and reports its result.

// Run does the run and reports its result.
func (c *loadCmd) Run(con *console, parsed *kong.Context) error {
	cfg := c.config()
	if err := c.readFiles(&cfg); err != nil {
		return err
	}
	if err := checkAllWritable(c.outputs(nil), con.out); err != nil { // now, not after an hour of measuring
		return err
	}
	if cfg.Connections <= 1000 && os.Getenv("GOGC") == "" {
		// A handshake makes much garbage and keeps little memory. With few
		// connections there is memory to spare, so collect garbage less often.
		debug.SetGCPercent(400)
	}
	ctx, stop := interruptible(con)
	defer stop()
	progress := newLoadProgress(con.err, c.Quiet)
	cfg.Progress = progress.show
	unwatch, err := c.watch(con, &cfg)
	if err != nil {
		return err
	}
	defer unwatch()
	if !cfg.StartAt.IsZero() && !c.Quiet {
		fmt.Fprintf(con.err, "tlsdemo: the run begins at %v, in %v\n", c.StartAt, time.Until(cfg.StartAt).Round(time.Second))
	}
	res, err := load.Run(ctx, cfg)
	progress.end()
	if err != nil {
		return advise(err)
	}
	res.Settings = settings(parsed, cfg)
	res.Environment.Server = c.Server
	res.Unmet = c.unmet(res)
	return errors.Join(c.write(con, res), c.failure(res))
}

// unmet says which thresholds a result does not meet. Except in a sweep, no handshake may
// fail if nothing else is said.
func (c *loadCmd) unmet(res *load.Result) []string {
	l := c.Limits
	if l.MaxErrors == nil && res.Sweep == nil {
		l.MaxErrors = new(errorLimit)
	}
	return l.check(res)
}

// failure returns the error that a result is for the exit status; nil if it is none.
func (c *loadCmd) failure(res *load.Result) error {
	switch {
	case res.Sweep != nil: // a sweep looks for failures: they are no error
		switch {
		case len(res.Sweep.Steps) == 0:
			return fmt.Errorf("no rate was measured: the sweep was stopped in its first step (%s)", res.Stopped)
		case res.Sweep.Knee == 0:
			return fmt.Errorf("the server did not keep up with the first rate: %s", res.Sweep.Limit)
		}
	case len(res.Unmet) > 0:
	case res.Handshakes == 0 && len(res.Aborted) == 0:
		return errors.New(nothingMeasured(res))
	}
	if len(res.Unmet) > 0 {
		return errors.New(strings.Join(res.Unmet, "; "))
	}
	if res.Stopped != "" && res.Stopped != load.Interrupted {
		return fmt.Errorf("the run was cut short: %s", res.Stopped)
	}
	return nil
}

// nothingMeasured says why there is no handshake in the result.
func nothingMeasured(res *load.Result) string {
	switch {
	case res.Errors > 0:
		return fmt.Sprintf("no handshake succeeded, and %d failed: %s", res.Errors, countKinds(res.ErrorsByKind))
	case res.Duration == 0 && res.Stopped != "":
		return "no handshake was measured: the run was stopped before its measured part began (" + res.Stopped + ")"
	case res.Stopped != "":
		return fmt.Sprintf("no handshake was measured: none had ended when the run was stopped (%s)", res.Stopped)
	case res.StartDelay != nil:
		return fmt.Sprintf("no handshake was measured: at %s/s none was due in %.3g s; raise --rate or --duration", res.Settings.Flags["rate"], res.Duration)
	}
	before := ""
	if res.Total.Errors > 0 {
		before = fmt.Sprintf(", and %d before it failed", res.Total.Errors)
	}
	return "no handshake was measured: none began in the measured part" + before + "; raise --duration"
}

// write writes the result and its warnings.
func (c *loadCmd) write(con *console, res *load.Result) error {
	err := writeOutputs(con, c.outputs(res), func(w io.Writer) {
		if !c.Quiet {
			printSummary(w, res)
		}
	})
	con.warn(res.Warnings)
	return err
}

// outputs returns the forms of the result that the flags ask for.
func (c *loadCmd) outputs(res *load.Result) []form {
	return append(c.dataFiles.outputs(res), form{"report", c.Report, func(w io.Writer) error {
		return report.Write(w, []report.Run{{Name: strings.Join(c.Targets, " "), Result: res}})
	}})
}

// interruptible returns a context that the first signal cancels. A second signal
// ends the program.
func interruptible(con *console) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signal.Notify(signals, syscall.SIGHUP) // the terminal or the ssh connection has gone
	}
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		told := make(chan struct{})
		go func() {
			defer close(told)
			fmt.Fprintln(con.err, "tlsdemo: interrupted; a second signal exits at once")
		}()
		select {
		case <-told:
		case <-time.After(logqueue.Patience): // nobody reads it: that must not keep the run
		}
		cancel()
		for sig := range signals {
			if sig != syscall.SIGHUP { // that comes twice, from the terminal and from the shell
				os.Exit(1)
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel() }
}

// advise adds advice to an error.
func advise(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w (is --source an address of this machine?)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (use --ca FILE to trust its issuer, or --insecure not to verify it)", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w (use --sni NAME to verify another name)", err)
	}
	return err
}
