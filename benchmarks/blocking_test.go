//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// Every way must serve handshakes and echo, on one loop.
func TestBlockingServer(t *testing.T) {
	k, err := newKeys(t.TempDir(), "rsa2048")
	if err != nil {
		t.Fatal(err)
	}
	for way := range blockingWays {
		t.Run(way, func(t *testing.T) {
			if strings.HasPrefix(way, wayLanes) && multibuffer.Supported() != nil {
				t.Skip(multibuffer.Supported())
			}
			cert, err := k.certificate()
			if err != nil {
				t.Fatal(err)
			}
			addrs := make(chan [2]string, 1)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			s := &blockingServer{Way: way, Cert: cert.certFile, Keyfile: cert.keyFile}
			go func() {
				ended <- s.serve(ctx, func(handshakes, echo net.Addr) { addrs <- [2]string{handshakes.String(), echo.String()} })
			}()
			var at [2]string
			select {
			case at = <-addrs:
			case err := <-ended:
				t.Fatal(err)
			}
			d := new(net.Dialer)
			h := &handshakeClient{Addr: at[0], Serial: cert.serial}
			for range 3 {
				if err := h.handshake(t.Context(), d, make([]byte, 4096)); err != nil {
					t.Error(err)
				}
			}
			res, err := runProbe(t, &probe{Addr: at[1], Interval: time.Millisecond, Duration: 5 * time.Millisecond})
			if err != nil || res.Probes != 5 {
				t.Errorf("%+v, %v", res, err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBlockingRows(t *testing.T) {
	probed := func(ms time.Duration) probeResult {
		return probeResult{P50: ms * time.Millisecond, P99: 2 * ms * time.Millisecond, P999: 3 * ms * time.Millisecond, Max: 4 * ms * time.Millisecond, Realtime: true}
	}
	results := map[string][]*blockingResult{
		wayNoLoad: {{Probe: probed(1)}, {Probe: probed(3)}},
		wayNone:   {{Probe: probed(5), Handshakes: &handshakeResult{Handshakes: 100, Elapsed: 1e9, ServerCPU: 1e8, Errors: 2, FirstError: "lost"}}},
	}
	results[wayNone][0].Probe.Late = time.Second
	results[wayNoLoad][1].Probe.Realtime = false
	ways := []string{wayNoLoad, wayNone}
	tab := blockingTable()
	addBlockingRows(tab, "rsa2048", ways, results)
	for i, want := range []string{
		"[rsa2048, no handshakes 2.00 (1.00–3.00) 4.00 (2.00–6.00) 6.00 (3.00–9.00) 8.00 (4.00–12.0) – –]",
		"[rsa2048, none 5.00 10.0 15.0 20.0 100 1000]",
	} {
		if got := fmt.Sprint(tab.Rows[i]); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
	if err := blockingErrors("rsa2048", ways, results); err == nil || err.Error() != "rsa2048: none, round 1: 2 handshakes failed, the first: lost" {
		t.Errorf("error %v", err)
	}
	notes := strings.Join(blockingWarnings("rsa2048", ways, results), "\n")
	for _, want := range []string{"rsa2048, none: the probe itself was up to 1s late", "rsa2048, no handshakes: the system did not let"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %s", want, notes)
		}
	}
}
