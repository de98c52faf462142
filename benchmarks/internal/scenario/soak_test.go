//go:build linux

package scenario

import (
	"maps"
	"strings"
	"testing"
)

// Whatever there is more of afterwards is an error.
func TestSoakCheck(t *testing.T) {
	start := soakState{rss: 20, descriptors: 13, goroutines: 11, started: 100}
	for _, tt := range []struct {
		name  string
		leave func(before, after soakState)
		want  string // in the error; none if empty
	}{
		{"nothing", func(_, after soakState) { after[started] = 1000 }, ""},
		{"less than before", func(_, after soakState) { after[goroutines] = 9 }, ""},
		{"a descriptor", func(_, after soakState) { after[descriptors]++ }, "descriptors: 13 before, 14 after"},
		{"a goroutine", func(_, after soakState) { after[goroutines]++ }, "goroutines: 11 before, 12 after"},
		{"a connection", func(_, after soakState) { after[connections]++ }, "connections"},
		{"a job", func(_, after soakState) { after["jobs paused"]++ }, "jobs paused"},
		{"a job that has not finished", func(_, after soakState) { after[alive]++ }, "jobs started and not finished"},
		{"a coroutine", func(_, after soakState) { after[coroutines]++ }, "coroutines"},
		{"a panic", func(_, after soakState) { after[panicked]++ }, "1 jobs panicked"},
		{"memory", func(_, after soakState) { after[rss] *= 5 }, "memory grew from 20 to 100 MB"},
		{"the first client's connection", func(before, after soakState) { before[connections]++; after[connections]++ }, "first client"},
	} {
		r := &soakResult{Before: maps.Clone(start), After: maps.Clone(start)}
		tt.leave(r.Before, r.After)
		err := r.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s left: %v, want %q", tt.name, err, tt.want)
		}
		if rows := rowsOf(stateTable(r)); len(rows) != 11 || rows[0] != "server before after" {
			t.Errorf("table %q", rows)
		}
	}
}
