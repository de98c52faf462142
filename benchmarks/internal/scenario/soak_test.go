//go:build linux

package scenario

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
)

// Whatever there is more of afterwards is an error.
func TestSoakCheck(t *testing.T) {
	jobs := soakState{
		rss: 20, descriptors: 13, peer.Goroutines: 11, peer.Connections: 0, peer.JobsPaused: 0, peer.JobsQueued: 0, peer.JobsAlive: 0,
		peer.Coroutines: 0, peer.JobsStarted: 100, peer.JobsPanicked: 0,
	}
	for _, tt := range []struct {
		name  string
		leave func(before, after soakState)
		want  string // in the error; none if empty
	}{
		{"nothing", func(_, after soakState) { after[peer.JobsStarted] = 1000 }, ""},
		{"less than before", func(_, after soakState) { after[peer.Goroutines] = 9 }, ""},
		{"a descriptor", func(_, after soakState) { after[descriptors]++ }, "descriptors: 13 before, 14 after"},
		{"a goroutine", func(_, after soakState) { after[peer.Goroutines]++ }, "goroutines: 11 before, 12 after"},
		{"a connection", func(_, after soakState) { after[peer.Connections]++ }, "connections: 0 before, 1 after"},
		{"a job", func(_, after soakState) { after[peer.JobsPaused]++ }, "jobs paused"},
		{"a job that has not finished", func(_, after soakState) { after[peer.JobsAlive]++ }, "jobs started and not finished"},
		{"a coroutine", func(_, after soakState) { after[peer.Coroutines]++ }, "coroutines"},
		{"a panic", func(_, after soakState) { after[peer.JobsPanicked]++ }, "jobs panicked: 1"},
		{"memory", func(_, after soakState) { after[rss] *= 5 }, "memory grew from 20 to 100 MB"},
		{"the first client's connection", func(before, after soakState) { before[peer.Connections]++; after[peer.Connections]++ }, "first client"},
	} {
		r := &soakResult{Server: "jobloop", Before: maps.Clone(jobs), After: maps.Clone(jobs)}
		tt.leave(r.Before, r.After)
		wantCheck(t, tt.name, r, tt.want)
		if rows := rowsOf(stateTable(r)); len(rows) != 11 || rows[0] != "server before after" {
			t.Errorf("table %q", rows)
		}
	}
}

// Servers without jobs are checked for what they have. An engine must have worked,
// and without errors.
func TestSoakCheckGoroutines(t *testing.T) {
	plain := soakState{rss: 20, descriptors: 13, peer.Goroutines: 11, peer.Connections: 0}
	wantCheck(t, "a server without an engine", &soakResult{Server: "nethttp", Before: plain, After: plain}, "")
	if rows := rowsOf(stateTable(&soakResult{Before: plain, After: plain})); len(rows) != 5 || !strings.HasPrefix(rows[2], "goroutines 11") {
		t.Errorf("table %q", rows)
	}
	wantCheck(t, "an engine that tells nothing", &soakResult{Server: "nethttp-multibuffer", Before: plain, After: plain}, "the engine multibuffer has made no signature")
	for _, tt := range []struct {
		name  string
		leave func(after soakState)
		want  string
	}{
		{"signatures", func(soakState) {}, ""},
		{"a goroutine", func(after soakState) { after[peer.Goroutines]++ }, "goroutines: 11 before, 12 after"},
		{"a connection", func(after soakState) { after[peer.Connections]++ }, "connections: 0 before, 1 after"},
		{"a descriptor", func(after soakState) { after[descriptors]++ }, "descriptors: 13 before, 14 after"},
		{"no signature", func(after soakState) { after[peer.Operations] = 5 }, "the engine multibuffer has made no signature"},
		{"a fallback", func(after soakState) { after[peer.Fallbacks] = 1 }, "engine's fallbacks: 1"},
		{"an unbound signature", func(after soakState) { after[peer.Unbound] = 2 }, "engine's unbound signatures: 2"},
	} {
		engine := maps.Clone(plain)
		maps.Copy(engine, soakState{peer.Operations: 5, peer.Batches: 3, peer.Fallbacks: 0, peer.Unbound: 0})
		r := &soakResult{Server: "goroutines-multibuffer", Before: engine, After: maps.Clone(engine)}
		r.After[peer.Operations] += 10
		tt.leave(r.After)
		wantCheck(t, tt.name, r, tt.want)
		if rows := rowsOf(stateTable(r)); len(rows) != 9 {
			t.Errorf("table %q", rows)
		}
	}
}

// wantCheck expects text in the error, or none.
func wantCheck(t *testing.T, name string, r *soakResult, want string) {
	t.Helper()
	err := r.check()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s left: %v, want %q", name, err, want)
	}
}

// Of every server of the scenario, what open connections hold is seen as left over,
// and no longer after they end.
func TestSoakState(t *testing.T) {
	for _, name := range []string{"jobloop", "jobloop-multibuffer", "jobloop-offload", "goroutines", "goroutines-multibuffer", "nethttp", "nethttp-multibuffer"} {
		t.Run(name, func(t *testing.T) {
			s, err := flags[*soak](t, "soak", "--server", name, "--key", "rsa2048")
			if err != nil {
				t.Fatal(err)
			}
			r := newRun(t)
			peers, err := r.peers([]string{s.Server}, s.Key)
			if err != nil {
				t.Skip(err)
			}
			if err := r.with(t.Context(), peers[0], s.Key, peer.Options{Metrics: true}, func(srv *peer.Server) error {
				return leaveConnections(t, srv, strings.HasPrefix(name, "jobloop"))
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// leaveConnections has clients stay, and then leave.
func leaveConnections(t *testing.T, srv *peer.Server, jobs bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), soakLimit)
	defer cancel()
	first := &client.Visit{Moment: client.Moments[len(client.Moments)-1], Way: client.CloseBoth, Rand: rand.New(rand.NewPCG(1, 2)), Target: srv.Target()}
	if err := first.Run(ctx); err != nil {
		return err
	}
	before, err := takeState(ctx, srv)
	if err != nil {
		return err
	}
	var conns []net.Conn
	for range 10 { // more than the first client and the look have left for a moment
		c, err := srv.Target().Dial(ctx, new(net.Dialer))
		if err != nil {
			return err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	after, err := takeState(ctx, srv)
	if err != nil {
		return err
	}
	held := []string{descriptors, peer.Connections}
	if !jobs {
		held = append(held, peer.Goroutines)
	}
	left := after.leftover(before)
	for _, what := range held {
		if left == nil || !strings.Contains(left.Error(), what+": ") {
			t.Errorf("%s are not left over: %v", what, left)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	for left != nil {
		if after, err = takeState(ctx, srv); err != nil {
			t.Errorf("after the end: %v", left)
			return err
		}
		left = after.leftover(before)
	}
	return nil
}
