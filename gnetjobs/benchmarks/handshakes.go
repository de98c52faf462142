//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/internal/load"
)

// handshakeClients is how many handshakes are in progress at a time.
const handshakeClients = 64

// handshakeRound is what was measured of one server in one round.
type handshakeRound struct {
	Handshakes int64            `json:"handshakes"`
	Latency    load.Percentiles `json:"latency_us"`
	usage
	Total int64 `json:"handshakes_total"` // with those of the warm-up
}

var handshakeColumns = []column[*handshakeRound]{
	{"server CPU, µs each", func(r *handshakeRound) float64 { return r.Server.Seconds() * 1e6 / float64(r.Handshakes) }},
	{"handshakes/s", func(r *handshakeRound) float64 { return float64(r.Handshakes) / r.Elapsed.Seconds() }},
	{"p99, ms", func(r *handshakeRound) float64 { return float64(r.Latency.P99) / 1e3 }},
	{"server busy, %", func(r *handshakeRound) float64 { return r.percentOf(r.Server) }},
	{"client busy, %", func(r *handshakeRound) float64 { return r.percentOf(r.Client) }},
}

func (m *measure) handshakes(ctx context.Context, dir string) (*result, error) {
	certs := make(map[string]*certificate)
	var all []*series[*handshakeRound]
	notes := []string{
		fmt.Sprintf("Full TLS 1.3 handshakes with X25519, %d at a time, none resumed. Each connection is closed by both sides after its handshake; what that costs is in the figures. The servers have counted as many as the client.", handshakeClients),
		fmt.Sprintf("%d rounds of %v for each server in turn, after %v of the same: median (least–greatest).", m.Rounds, m.Duration, m.warmup()),
	}
	for _, key := range []string{keyECDSA, keyRSA} {
		names := m.servers(nameGnetjobs, nameGoroutines)
		if key == keyRSA {
			names = m.servers(nameMultibuffer, nameGnetjobs, nameGoroutines)
		}
		if err := multibuffer.Supported(); err != nil && slices.Contains(names, nameMultibuffer) {
			names = slices.DeleteFunc(names, func(name string) bool { return name == nameMultibuffer })
			notes = append(notes, fmt.Sprintf("%s: SKIPPED: %v.", nameMultibuffer, err))
		}
		var err error
		if certs[key], err = newCertificate(dir, key); err != nil {
			return nil, err
		}
		for _, name := range names {
			all = append(all, &series[*handshakeRound]{Server: name, Key: key})
		}
	}
	if len(all) == 0 {
		return nil, errNoServer
	}
	err := measureRounds(ctx, m.Rounds, all, func(s *series[*handshakeRound]) (*handshakeRound, error) {
		return m.handshakeRound(ctx, s.Server, certs[s.Key])
	})
	return &result{Results: all, Notes: append(notes, m.others(usages(all))...), table: tableOf(all, handshakeColumns)}, err
}

func (m *measure) handshakeRound(ctx context.Context, name string, cert *certificate) (*handshakeRound, error) {
	r := new(handshakeRound)
	return r, m.with(ctx, name, cert, smallBuffer, func(s *server) (int64, error) {
		args := append([]string{"handshake-client"}, s.target(cert).args()...)
		args = append(args, m.watched(s).args()...)
		err := runClient(ctx, m.ClientCPU, r, append(args, "--warmup", m.warmup().String(), "--duration", m.Duration.String())...)
		return r.Total, err
	})
}

// handshakeClient is the process that makes handshakes.
type handshakeClient struct {
	target
	watched
	Warmup   time.Duration
	Duration time.Duration
}

func (h *handshakeClient) Run(ctx context.Context) error {
	debug.SetGCPercent(400) // as "tlsdemo load" does: the client is not to be the limit
	r, err := h.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// measure loads the server twice. The first time is its warm-up. CPU time is
// taken when no handshake is in progress, and counts for all that were made.
func (h *handshakeClient) measure(ctx context.Context) (*handshakeRound, error) {
	warm, err := h.load(ctx, h.Warmup)
	if err != nil {
		return nil, fmt.Errorf("warm-up: %w", err)
	}
	before, err := h.take()
	if err != nil {
		return nil, err
	}
	res, err := h.load(ctx, h.Duration)
	if err != nil {
		return nil, err
	}
	after, err := h.take()
	if err != nil {
		return nil, err
	}
	n := res.Total.Handshakes
	return &handshakeRound{Handshakes: n, Latency: res.Latency, usage: after.sub(before), Total: warm.Total.Handshakes + n}, nil
}

// load makes handshakes for some time. That one fails, or is not as it should
// be, is an error.
func (h *handshakeClient) load(ctx context.Context, d time.Duration) (*load.Result, error) {
	res, err := load.Run(ctx, load.Config{
		Targets:     []string{h.Addr},
		Connections: handshakeClients,
		Loops:       1,
		Duration:    d,
		Timeout:     ioTimeout,
		TLS:         load.TLSConfig{Version: tls.VersionTLS13, Curve: tls.X25519, ServerName: "localhost", Insecure: true}, // the certificate is compared instead
	})
	if err != nil {
		return nil, err
	}
	return res, h.checkResult(res)
}

func (h *handshakeClient) checkResult(res *load.Result) error {
	switch {
	case res.Stopped != "":
		return fmt.Errorf("it ended early: %s", res.Stopped)
	case res.Total.Errors > 0:
		return fmt.Errorf("%d handshakes failed: %v, such as %q", res.Total.Errors, res.ErrorsByKind, res.ErrorExamples)
	case res.Handshakes == 0:
		return errors.New("not one handshake was completed")
	}
	for _, n := range res.Negotiated {
		if n.Version != "TLS 1.3" || n.Curve != "X25519" || n.Cipher != "TLS_AES_128_GCM_SHA256" || n.Resumed {
			return fmt.Errorf("handshakes agreed on something else: %+v", n)
		}
	}
	for _, c := range res.Certificates {
		if c.SHA256 != h.SHA256 {
			return fmt.Errorf("another server's certificate: %+v", c)
		}
	}
	return nil
}
