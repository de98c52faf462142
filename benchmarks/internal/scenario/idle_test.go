//go:build linux

package scenario

import (
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
)

// Servers hold connections in every state, and a user sees which it was.
func TestIdleStates(t *testing.T) {
	servers := []string{"goroutines", "nethttp", "nethttp-listentls", "httploop", "fasthttp"}
	for _, state := range []client.State{client.Established, client.HalfHandshake, client.HalfHello, client.Connected} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			d, err := flags[*idle](t, "idle", "--state", string(state), "--servers", strings.Join(servers, ","))
			if err != nil {
				t.Fatal(err)
			}
			d.quick()
			d.Connections, d.Settle = []int{50}, 0
			r := newRun(t)
			if err := d.measure(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			results := r.Results.(map[int]map[string][]*idleResult)[50]
			for _, s := range servers {
				if len(results[s]) != 1 || results[s][0].RSSAfter == 0 || results[s][0].FreedAfter == 0 || results[s][0].State != state {
					t.Errorf("%s: %+v", s, results[s])
				}
			}
			if !strings.Contains(r.Notes[0], "then "+map[client.State]string{
				client.Established: "answered another", client.HalfHandshake: "sent it and", client.HalfHello: "sent the rest", client.Connected: "made its handshake",
			}[state]) {
				t.Errorf("notes %q", r.Notes)
			}
		})
	}
}

// A server without all connections has no figure.
func TestIdleWithoutConnections(t *testing.T) {
	withServer(t, newRun(t), "ecdsa-p256", func(s *peer.Server) {
		if err := holds(s, 3); err != nil {
			t.Error(err)
		}
		if err := holds(s, 1000); err == nil || !strings.Contains(err.Error(), "not all connections") {
			t.Errorf("error %v", err)
		}
	})
}
