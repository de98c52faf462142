package load

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// This file tests configurations that make no sense.

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		text   string // in the error
	}{
		{"no target", func(c *Config) { c.Targets = nil }, "no target"},
		{"no port", func(c *Config) { c.Targets = append(c.Targets, "example.com") }, `"example.com"`},
		{"no host", func(c *Config) { c.Targets[0] = ":443" }, `":443"`},
		{"no connections", func(c *Config) { c.Connections = 0 }, "0 connections"},
		{"no loops", func(c *Config) { c.Loops = 0 }, "0 loops"},
		{"more loops than connections", func(c *Config) { c.Loops = 5 }, "5 loops"},
		{"negative rate", func(c *Config) { c.Rate = -1 }, "rate of -1"},
		{"arrivals without a rate", func(c *Config) { c.Poisson = true }, "rate"},
		{"no number", func(c *Config) { c.Rate = math.NaN() }, "rate of NaN"},
		{"endless rate", func(c *Config) { c.Rate = math.Inf(1) }, "rate of +Inf"},
		{"negative count", func(c *Config) { c.Count = -1 }, "count of -1"},
		{"neither count nor duration", func(c *Config) { c.Count = 0 }, "a duration or a count is needed"},
		{"count below loops", func(c *Config) { c.Count, c.Loops = 1, 2 }, "count of 1"},
		{"negative warm-up", func(c *Config) { c.Warmup = -1 }, "negative"},
		{"negative ramp", func(c *Config) { c.Ramp = -1 }, "negative"},
		{"negative duration", func(c *Config) { c.Duration = -1 }, "negative"},
		{"ramp and warm-up beyond all time", func(c *Config) { c.Ramp, c.Warmup = math.MaxInt64, math.MaxInt64 }, "a year"},
		{"protocol without a name", func(c *Config) { c.TLS.ALPN = []string{""} }, "ALPN"},
		{"protocol with too long a name", func(c *Config) { c.TLS.ALPN = []string{strings.Repeat("x", 256)} }, "ALPN"},
		{"sweep without a handshake", func(c *Config) {
			c.Sweep, c.Rate, c.Duration, c.Count = &SweepConfig{P99: 1}, 0.5, time.Second, 0
		}, "no handshake in a step of 1s"},
		{"no timeout", func(c *Config) { c.Timeout = 0 }, "timeout of 0s"},
		{"no patience", func(c *Config) { c.Patience = everyone(0, 1) }, "patience of 0s"},
		{"negative patience", func(c *Config) { c.Patience = everyone(-1, 1) }, "patience of -1ns"},
		{"patience from more to less", func(c *Config) { c.Patience = everyone(2, 1) }, "from 2ns to 1ns"},
		{"hold of nothing", func(c *Config) { c.Hold = everyone(0, 1) }, "hold of 0s"},
		{"hold of too many", func(c *Config) { c.Hold = Times{1.1, 1, 1} }, "1.1"},
		{"aborts of too many", func(c *Config) { c.Abort = 1.1 }, "1.1"},
		{"version of the PROXY protocol", func(c *Config) { c.ProxyProtocol = 3 }, "version 3"},
		{"share above 1", func(c *Config) { c.Resume = 1.1 }, "1.1"},
		{"negative share", func(c *Config) { c.Resume = -0.1 }, "-0.1"},
		{"path", func(c *Config) { c.Request = "index.html" }, `"index.html"`},
		{"path with spaces", func(c *Config) { c.Request = "/a b" }, `"/a b"`},
		{"path with a header", func(c *Config) { c.Request = "/\r\nX: y" }, `"/\r\nX: y"`},
		{"sweep without a rate", func(c *Config) { c.Count, c.Duration, c.Sweep = 0, 1, &SweepConfig{P99: 1} }, "rate to begin with"},
		{"sweep with a count", func(c *Config) { c.Rate, c.Duration, c.Sweep = 1, 1, &SweepConfig{P99: 1} }, "count"},
		{"sweep without a duration", func(c *Config) { c.Count, c.Rate, c.Sweep = 0, 1, &SweepConfig{P99: 1} }, "duration"},
		{"sweep without a p99", func(c *Config) { c.Count, c.Duration, c.Rate, c.Sweep = 0, 1, 1, &SweepConfig{} }, "p99 limit of 0s"},
		{"sweep in which all abort", func(c *Config) {
			c.Count, c.Duration, c.Rate, c.Sweep, c.Abort = 0, time.Second, 10, &SweepConfig{P99: 1}, 1
		}, "all clients abort"},
		{"sweep to less than its first rate", func(c *Config) { c.Count, c.Duration, c.Rate, c.Sweep = 0, 1, 10, &SweepConfig{P99: 1, Max: 9} }, "9"},
	} {
		cfg := Config{Targets: []string{"127.0.0.1:1"}, Connections: 4, Loops: 1, Count: 10, Timeout: time.Second}
		test.change(&cfg)
		res, err := Run(t.Context(), cfg)
		if err == nil || res != nil || !strings.Contains(err.Error(), test.text) || strings.HasPrefix(err.Error(), "127.0.0.1:1: ") {
			t.Errorf("%s: result %v, error %v, want one with %q", test.name, res, err, test.text)
		}
	}
}

// A source address must belong to this machine.
func TestForeignSource(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if res, err := Run(t.Context(), cfg); err == nil || kindOf(err) != kindPorts {
		t.Errorf("result %v, error %v", res, err)
	}
}

func TestCurveName(t *testing.T) {
	for name, id := range Curves {
		want(t, "name", CurveName(id), name)
	}
	want(t, "name of one that Curves has not", CurveName(0x1234), "CurveID(4660)")
}
