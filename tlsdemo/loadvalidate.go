package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/alecthomas/kong"
)

// This file finds flags of "tlsdemo load" that make no sense.

// Validate finds flags that make no sense before anything is started.
func (c *loadCmd) Validate(parsed *kong.Context) error {
	for i, t := range c.Targets {
		var err error
		if c.Targets[i], err = parseTarget(t); err != nil {
			return err
		}
	}
	given := make(map[string]bool) // flags
	for _, p := range parsed.Path {
		if p.Flag != nil {
			given[p.Flag.Name] = true
		}
	}
	if err := c.meaningless(given); err != nil {
		return err
	}
	switch {
	case c.Connections != nil && *c.Connections < 1:
		return fmt.Errorf("--connections: %d, at least 1 is needed", *c.Connections)
	case !(c.Rate >= 0) || math.IsInf(c.Rate, 1):
		return fmt.Errorf("--rate: %v is not a rate", c.Rate)
	case !(c.SweepMax >= 0) || math.IsInf(c.SweepMax, 1):
		return fmt.Errorf("--sweep-max: %v is not a rate", c.SweepMax)
	case c.Arrivals.poisson && c.Rate == 0 && !c.Sweep:
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
	case given["sweep-p99"] && !c.Sweep:
		return errors.New("--sweep-p99 needs --sweep")
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
	case c.ClientSig != 0 && c.ClientCert == "":
		return errors.New("--client-signature needs --client-cert")
	case c.Cipher != 0 && c.TLS != tls.VersionTLS12:
		return errors.New("--cipher needs --tls 1.2: cipher suites of TLS 1.3 cannot be chosen")
	case tls.CurveID(c.Curve) == tls.X25519MLKEM768 && c.TLS == tls.VersionTLS12:
		return errors.New("--curve X25519MLKEM768 needs TLS 1.3")
	case c.Request != "" && slices.Contains(c.ALPN, "h2"):
		return errors.New("--request uses HTTP/1.1: leave h2 out of --alpn")
	case c.Request != "" && c.Request[0] != '/':
		return fmt.Errorf("--request: %q does not begin with /", c.Request)
	}
	inputs := []inputFile{{"--ca", c.CA}, {"--client-cert", c.ClientCert}, {"--client-key", c.ClientKey}}
	if err := checkOutputs(c.outputs(nil), inputs...); err != nil {
		return err
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

// meaningless finds flags that were given a value that is, inside this program, that of a
// flag that was not given.
func (c *loadCmd) meaningless(given map[string]bool) error {
	for _, f := range []struct {
		name string
		zero bool
		why  string
	}{
		{"rate", c.Rate == 0, "0 handshakes a second are none: leave it out for a closed loop"},
		{"sweep-max", c.SweepMax == 0, "0 is not a rate: leave it out for no limit"},
		{"duration", c.Duration == 0, "0s is no time to measure anything"},
		{"count", c.Count == 0, "0 handshakes are nothing to measure: leave it out for no limit"},
		{"source", len(c.Source) == 0, "an IP address is needed"},
		{"alpn", len(c.ALPN) == 0, "the name of a protocol is needed"},
		{"request", c.Request == "", "a path is needed, such as /"},
		{"json", c.JSON == "", "the name of a file is needed"},
		{"hgrm", c.HGRM == "", "the name of a file is needed"},
		{"csv", c.CSV == "", "the name of a file is needed"},
		{"report", c.Report == "", "the name of a file is needed"},
		{"metrics", c.Metrics == "", "an address is needed, such as 127.0.0.1:9100"},
	} {
		if f.zero && given[f.name] {
			return fmt.Errorf("--%s: %s", f.name, f.why)
		}
	}
	return nil
}
