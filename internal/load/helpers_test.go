package load

import (
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file has helpers for all tests. Their servers are in server_test.go.

// closedConfig is a closed loop with requests: only an answer proves that the
// server, too, has seen the end of a handshake.
func closedConfig(servers ...*server) Config {
	cfg := Config{
		Connections: 4, Loops: 1, Seed: 1, Count: 20, Timeout: testkit.Patience, Reset: true, Request: "/",
		TLS: TLSConfig{RootCAs: ca().pool},
	}
	for _, s := range servers {
		cfg.Targets = append(cfg.Targets, s.addr())
	}
	return cfg
}

// openConfig is an open loop with enough connections for its rate.
func openConfig(rate float64, d time.Duration, servers ...*server) Config {
	cfg := closedConfig(servers...)
	cfg.Rate, cfg.Duration, cfg.Count, cfg.Connections = rate, d, 0, 500
	return cfg
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// wantErrors checks that there were n errors, all of one kind.
func wantErrors(t testing.TB, res *Result, kind string, n int64) {
	t.Helper()
	if res.Errors != n || res.ErrorsByKind[kind] != n {
		t.Errorf("errors %v, want %d of the kind %q; examples: %q", res.ErrorsByKind, n, kind, res.ErrorExamples)
	}
}

// gate makes servers wait until a test, or the run's progress, opens it.
type gate struct {
	once sync.Once
	open chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) let() { g.once.Do(func() { close(g.open) }) }

// wait waits until the gate is open. It gives up after some time.
func (g *gate) wait() {
	select {
	case <-g.open:
	case <-time.After(testkit.Patience):
	}
}

// atPhase opens the gate when the run enters a phase.
func (g *gate) atPhase(phase string) func(Progress) {
	return func(p Progress) {
		if p.Phase == phase {
			g.let()
		}
	}
}
