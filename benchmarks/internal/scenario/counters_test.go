//go:build linux

package scenario

import (
	"context"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/internal/load"
)

func TestCountersTable(t *testing.T) {
	kind := client.Full("rsa2048")
	same := peer.Counts{Connections: 11, Handshakes: 10, Resumed: 0, Requests: 10}
	good := &countersResult{Server: "a", What: kind, Client: same, Counts: same}
	if _, err := countersTable([]*countersResult{good}); err != nil {
		t.Error(err)
	}
	for want, other := range map[string]peer.Counts{
		"b, rsa2048, TLS 1.3, full 11 (12) 10 0 10 NO": {Connections: 12, Handshakes: 10, Requests: 10},
		"b, rsa2048, TLS 1.3, full 11 10 (9) 0 10 NO":  {Connections: 11, Handshakes: 9, Requests: 10},
		"b, rsa2048, TLS 1.3, full 11 10 0 (1) 10 NO":  {Connections: 11, Handshakes: 10, Resumed: 1, Requests: 10},
		"b, rsa2048, TLS 1.3, full 11 10 0 10 (11) NO": {Connections: 11, Handshakes: 10, Requests: 11},
	} {
		tab, err := countersTable([]*countersResult{good, {Server: "b", What: kind, Client: same, Counts: other}})
		if err == nil || !strings.HasPrefix(err.Error(), "b, rsa2048, TLS 1.3, full: the client counts") {
			t.Errorf("%+v beside %+v: error %v", same, other, err)
		}
		wantPrefixes(t, rowsOf(tab)[1:], []string{"a, rsa2048, TLS 1.3, full 11 10 0 10 yes", want})
	}
	if _, err := countersTable([]*countersResult{{Server: "b", Client: same, Counts: same, Errors: 1}}); err == nil {
		t.Error("no error of a load in which a handshake failed")
	}
}

// Both sides are asked, the server before and after; and the client must have
// reached it.
func TestCount(t *testing.T) {
	r := newRun(t)
	kind := client.Full("ecdsa-p256")
	c := &counters{Count: 1000}
	withServer(t, r, kind.Key, func(s *peer.Server) {
		asked := int64(0)
		s.Counts = func(context.Context) (peer.Counts, error) {
			asked++
			return peer.Counts{Connections: 1001 * asked, Handshakes: 1001 * asked, Requests: 1001 * asked}, nil
		}
		res := goodLoad(s, 1000)
		res.Total = load.Total{Begun: 1001, Handshakes: 1001, Requests: 1001}
		r.fakeLoad(t, res)
		got, err := c.one(t.Context(), r, s, kind, false)
		if err != nil || got.check() != nil || got.Counts.Handshakes != 1001 {
			t.Errorf("%+v, %v", got, err)
		}
		res.Certificates[0].SHA256 = "beef"
		r.fakeLoad(t, res)
		if _, err := c.one(t.Context(), r, s, kind, false); err == nil || !strings.Contains(err.Error(), "beef") {
			t.Errorf("with another server's certificate: %v", err)
		}
	})
}

// What the client gave up, or never began, no server counts. A request that was sent it
// does, even if the client has gone.
func TestClientCounts(t *testing.T) {
	total := load.Total{Begun: 4, Handshakes: 3, Resumed: 2, Requests: 1, Errors: 9, Canceled: 9, Probes: 9, Aborted: map[string]int64{"connected": 9, "after the request": 5}}
	if got := clientCounts(&total); got != (peer.Counts{Connections: 4, Handshakes: 3, Resumed: 2, Requests: 6}) {
		t.Errorf("%+v", got)
	}
}
