//go:build linux

package scenario

import (
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func TestBlockingRows(t *testing.T) {
	probed := func(ms time.Duration) *client.ProbeResult {
		return &client.ProbeResult{P50: ms * time.Millisecond, P99: 2 * ms * time.Millisecond, P999: 3 * ms * time.Millisecond, Max: 4 * ms * time.Millisecond, Realtime: true}
	}
	idle := []*blockingResult{{Probe: probed(1)}, {Probe: probed(3)}}
	busy := []*blockingResult{{Probe: probed(5), Handshakes: &client.Loaded{
		Load:    &load.Result{Handshakes: 100, HandshakesPer: 100, Errors: 2, ErrorsByKind: map[string]int64{"reset": 2}, ErrorExamples: map[string]string{"reset": "lost"}},
		Watched: client.Watched{Elapsed: time.Second, ServerCPU: 100 * time.Millisecond, OtherCPU: 200 * time.Millisecond},
	}}}
	tab := report.NewTable("", blockingColumns, "key, server")
	report.AddRow(tab, idle, blockingColumns, "idle")
	report.AddRow(tab, busy, blockingColumns, "busy")
	wantPrefixes(t, rowsOf(tab)[1:], []string{
		"idle 2.00 (1.00–3.00) 4.00 (2.00–6.00) 6.00 (3.00–9.00) 8.00 (4.00–12.0) – –",
		"busy 5.00 10.0 15.0 20.0 100 1000",
	})

	idle[1].Probe.Realtime = false
	busy[0].Probe.Late = time.Second
	r := newRun(t)
	if err := r.noteBlocking("rsa2048, idle", idle); err != nil {
		t.Error(err)
	}
	if err := r.noteBlocking("rsa2048, busy", busy); err == nil || err.Error() != "rsa2048, busy, round 1: 2 handshakes failed, 100 succeeded: 2 reset (lost)" {
		t.Errorf("error %v", err)
	}
	wantPrefixes(t, r.Notes, []string{
		"rsa2048, idle: the system did not let the probe go before the other clients",
		"rsa2048, busy: others (processes, interrupts, the hypervisor) took up to 20 % of the server's core in a round.",
		"rsa2048, busy: the probe itself was up to 1s late",
	})
}
