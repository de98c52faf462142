package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// This file finds flags of "tlsdemo load" that make no sense.

// Validate finds flags that make no sense before anything is started.
func (c *loadCmd) Validate() error {
	for _, t := range c.Targets {
		if _, _, err := splitAddr(t); err != nil {
			return fmt.Errorf("target %w", err)
		}
	}
	switch {
	case c.Connections != nil && *c.Connections < 1:
		return fmt.Errorf("--connections: %d, at least 1 is needed", *c.Connections)
	case !(c.Rate >= 0) || math.IsInf(c.Rate, 1):
		return fmt.Errorf("--rate: %v is not a rate", c.Rate)
	case !(c.SweepMax >= 0) || math.IsInf(c.SweepMax, 1):
		return fmt.Errorf("--sweep-max: %v is not a rate", c.SweepMax)
	case bool(c.Arrivals) && c.Rate == 0 && !c.Sweep:
		return errors.New("--arrivals poisson needs --rate")
	case c.SweepMax > 0 && !c.Sweep:
		return errors.New("--sweep-max needs --sweep")
	case c.SweepMax > 0 && c.SweepMax < c.Rate:
		return fmt.Errorf("--sweep-max: %v is less than --rate %v", c.SweepMax, c.Rate)
	case c.Sweep && c.Count > 0:
		return errors.New("--sweep cannot be used with --count: its steps have a --duration")
	case c.Sweep && c.Ramp > 0:
		return errors.New("--sweep cannot be used with --ramp: a sweep raises the rate itself")
	case c.Count < 0:
		return fmt.Errorf("--count: %d is negative", c.Count)
	case c.Loops < 1:
		return fmt.Errorf("--loops: %d, at least 1 is needed", c.Loops)
	case c.Warmup != nil && *c.Warmup < 0:
		return fmt.Errorf("--warmup: %v is negative", *c.Warmup)
	case !c.StartAt.IsZero() && time.Until(c.StartAt.Time) < 0:
		return fmt.Errorf("--start-at: %v has passed", c.StartAt)
	case c.Insecure && c.CA != "":
		return errors.New("--ca and --insecure cannot be used together: choose one")
	case c.ClientCert != "" && c.ClientKey == "":
		return errors.New("--client-cert needs --client-key")
	case c.ClientKey != "" && c.ClientCert == "":
		return errors.New("--client-key needs --client-cert")
	case c.Cipher != 0 && c.TLS != tls.VersionTLS12:
		return errors.New("--cipher needs --tls 1.2: cipher suites of TLS 1.3 cannot be chosen")
	case tls.CurveID(c.Curve) == tls.X25519MLKEM768 && c.TLS == tls.VersionTLS12:
		return errors.New("--curve X25519MLKEM768 needs TLS 1.3")
	case c.Request != "" && slices.Contains(c.ALPN, "h2"):
		return errors.New("--request uses HTTP/1.1: leave h2 out of --alpn")
	case c.Request != "" && c.Request[0] != '/':
		return fmt.Errorf("--request: %q does not begin with /", c.Request)
	case c.JSON == "-" && c.Report == "-":
		return errors.New("--json and --report cannot both go to standard output")
	}
	for _, t := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"duration", c.Duration, 0},
		{"ramp", c.Ramp, 0},
		{"timeout", c.Timeout, 1},
		{"sweep-p99", c.SweepP99, 1},
	} {
		if t.value < t.least {
			return fmt.Errorf("--%s: %v is too short", t.flag, t.value)
		}
	}
	if err := c.Limits.validate(c.Sweep); err != nil {
		return err
	}
	cfg := c.config()
	return cfg.Validate()
}
