//go:build linux

package scenario

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
)

func TestVisitArgs(t *testing.T) {
	for _, tt := range []struct {
		protocol peer.Protocol
		request  bool
		want     string
	}{
		{peer.HTTPS, true, "--request / --reset"},
		{peer.HTTPS, false, "--reset"},
		{peer.GRPC, true, "--alpn h2 --no-reset"},
		{peer.GRPC, false, "--alpn h2 --no-reset"},
	} {
		if got := strings.Join(visitArgs(tt.protocol, tt.request), " "); got != tt.want {
			t.Errorf("%s, request %t: %q, want %q", tt.protocol, tt.request, got, tt.want)
		}
	}
}

// The scenarios of handshakes load a gRPC server without a request and without a
// reset, and have it choose HTTP/2. A note says so.
func TestGRPCIsLoaded(t *testing.T) {
	r := newRun(t)
	kind := client.Full("ecdsa-p256")
	loads := map[string]func(*peer.Server) error{
		"handshakes": func(s *peer.Server) error {
			h := &handshakes{Clients: 64, Duration: time.Second, Request: true, Load: []string{"half"}}
			_, err := (&loader{h, r, kind, s}).round(t.Context(), nil)
			return err
		},
		"scaling": func(s *peer.Server) error {
			sc := &scaling{Handshakes: 1, Timeout: time.Minute}
			_, err := sc.one(t.Context(), r, s, &scalingPoint{Key: kind.Key, Connections: 1, Threads: 1})
			return err
		},
	}
	withServerNamed(t, r, "grpc", kind.Key, func(s *peer.Server) {
		if s.Protocol != peer.GRPC {
			t.Errorf("it serves %q", s.Protocol)
		}
		for scenario, load := range loads {
			res := goodLoad(s, 1000)
			calls := r.fakeLoad(t, res)
			if err := load(s); err == nil || !strings.Contains(err.Error(), `"" instead of "h2"`) {
				t.Errorf("%s: error %v of a server that has not chosen HTTP/2", scenario, err)
			}
			for _, args := range calls() {
				if !strings.Contains(args, " --alpn h2 ") || !strings.Contains(args, " --no-reset ") || strings.Contains(args, " --reset") || strings.Contains(args, "--request") {
					t.Errorf("%s: %s", scenario, args)
				}
			}
			res.Negotiated[0].ALPN = "h2"
			r.fakeLoad(t, res)
			if err := load(s); err != nil {
				t.Errorf("%s: %v", scenario, err)
			}
		}
	})
	// Servers of other protocols must agree on the rest.
	withServer(t, r, kind.Key, func(s *peer.Server) {
		for curve, ok := range map[string]bool{"X25519": true, "P-256": false} {
			res := goodLoad(s, 1000)
			res.Negotiated[0].Curve = curve
			if err := r.check(s, kind, res); (err == nil) != ok {
				t.Errorf("with %s: %v", curve, err)
			}
		}
	})
	if !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.HasPrefix(n, "gRPC's servers (grpc-go ") && strings.Contains(n, "without a request")
	}) {
		t.Errorf("notes %q", r.Notes)
	}
}

// gRPC's servers can be named where handshakes are measured, and not where requests
// of HTTP/1.1 are.
func TestGRPCFlags(t *testing.T) {
	for _, e := range Entries() {
		want := e.Name == "handshakes" || e.Name == "scaling"
		if _, err := e.parse([]string{"--servers", "grpc,grpc-multibuffer"}); (err == nil) != want {
			t.Errorf("%s --servers grpc: %v", e.Name, err)
		}
	}
}
