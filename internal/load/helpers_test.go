package load

import (
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// This file has helpers for all tests. Their servers are in server_test.go.

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

// closedConfig is a closed loop with requests. Only an answer proves that the server has
// seen the end of a handshake too.
func closedConfig(servers ...*server) Config {
	cfg := Config{
		Connections: 4, Loops: 1, Count: 20, Timeout: patience, Reset: true, Request: "/",
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
	case <-time.After(patience):
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

// eventually waits until cond is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// checkLeaks makes the test fail if, at its end, more descriptors or goroutines
// exist than now. Jobs count as goroutines.
func checkLeaks(t testing.TB) {
	t.Helper()
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // package net keeps a few descriptors
		ln.Close()
	}
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		var moreFDs, more int
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			moreFDs, more = descriptors()-fds, runtime.NumGoroutine()-goroutines
			if moreFDs <= 0 && more <= 0 {
				return
			}
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("%d descriptors and %d goroutines leaked\n%s", moreFDs, more, stacks[:runtime.Stack(stacks, true)])
	})
}

// descriptors returns the number of open descriptors, or 0 if this system has no
// directory of them.
func descriptors() int {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if entries, err := os.ReadDir(dir); err == nil {
			return len(entries)
		}
	}
	return 0
}
