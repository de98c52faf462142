package main

import (
	"net"
	"testing"
	"time"
)

// The table of clients is bounded, and the client that has been silent for the longest
// time is forgotten.
func TestTable(t *testing.T) {
	l := newLimiter(0.5, 1, 2)
	now := time.Now()
	for i, tt := range []struct {
		from string
		want time.Duration
	}{
		{"192.0.2.1", 0},
		{"192.0.2.1", 2 * time.Second},
		{"::ffff:192.0.2.1", 2 * time.Second}, // the same
		{"2001:db8::1", 0},
		{"2001:db8::ffff:2", 2 * time.Second}, // in the same range
		{"192.0.2.1", 2 * time.Second},        // still known
		{"2001:db8:0:1::1", 0},                // another range, instead of the first
		{"192.0.2.1", 2 * time.Second},        // still known
		{"2001:db8::1", 0},                    // forgotten
	} {
		if got := l.wait(&net.TCPAddr{IP: net.ParseIP(tt.from), Port: 1000 + i}, now); got != tt.want {
			t.Errorf("request %d, from %s: wait %v, want %v", i+1, tt.from, got, tt.want)
		}
		if len(l.clients) > 2 || l.recent.Len() != len(l.clients) {
			t.Errorf("%d clients in the table, %d in the list, want at most 2", len(l.clients), l.recent.Len())
		}
	}
	if got := l.wait(&net.TCPAddr{IP: net.ParseIP("192.0.2.1")}, now.Add(2*time.Second)); got != 0 {
		t.Errorf("after the time that it was told: wait %v", got)
	}
}
