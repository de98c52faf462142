package load

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file checks that the figures of every result add up.

// mustRun does a run, which must begin, and checks that its result adds up.
func mustRun(t testing.TB, ctx context.Context, cfg Config) *Result {
	t.Helper()
	res, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantSums(t, &cfg, res)
	return res
}

// wantSums compares the figures of a result that count the same thing.
func wantSums(t testing.TB, cfg *Config, res *Result) {
	t.Helper()
	if err := res.Check(); err != nil {
		t.Errorf("the result's own check: %v", err)
	}
	for s := range res.stored() {
		if s.count > 0 && s.Histogram == "" && !strings.HasPrefix(s.key, "targets") {
			t.Errorf("no %s", s.key)
		}
	}
	kinds, agreed, shown, handshakes, failed := int64(0), int64(0), int64(0), int64(0), int64(0)
	for _, n := range res.ErrorsByKind {
		kinds += n
	}
	for _, n := range res.Negotiated {
		agreed += n.Handshakes
	}
	for _, c := range res.Certificates {
		shown += c.Handshakes
	}
	for _, target := range res.Targets {
		handshakes += target.Handshakes
		failed += target.Errors
	}
	want(t, "sum of errors by kind", kinds, res.Errors)
	want(t, "sum of what was negotiated", agreed, res.Handshakes)
	want(t, "sum of certificates", shown, res.Handshakes)
	want(t, "sum of the targets' handshakes", handshakes, res.Handshakes)
	want(t, "sum of the targets' errors and those not begun", failed+res.NotBegun, res.Errors)
	want(t, "count of latencies", res.Latency.Count, res.Handshakes)
	want(t, "count of connects", res.Phases.Connect.Count, res.Handshakes)
	wantAtLeast(t, "the greatest latency", res.Latency.Max, time.Duration(max(res.Phases.Connect.Max, res.Phases.TLS.Max))*time.Microsecond)
	gaveUp := int64(0)
	if res.GaveUpAfter != nil {
		gaveUp = res.GaveUpAfter.Count
	}
	want(t, "count of those that gave up", gaveUp, res.ErrorsByKind[kindGaveUp])
	if gaveUp > res.Total.GaveUp || res.Total.GaveUp > res.Total.Errors {
		t.Errorf("%d gave up in the measured part, %d in all, of %d errors", gaveUp, res.Total.GaveUp, res.Total.Errors)
	}
	if least := int64(max(len(cfg.Targets), len(cfg.Sources))); res.Total.Probes < least { // a name may have more addresses
		t.Errorf("%d probes, want %d or more", res.Total.Probes, least)
	}
	for kind := range res.ErrorsByKind {
		if res.ErrorExamples[kind] == "" {
			t.Errorf("no example of the error %q", kind)
		}
	}
	if res.MaxInFlight > cfg.Connections {
		t.Errorf("%d connections at a time, %d were allowed", res.MaxInFlight, cfg.Connections)
	}

	// Each connection has ended in exactly one way. Without requests, a completed
	// handshake is a success.
	succeeded := res.Total.Handshakes
	if cfg.Request != "" {
		succeeded = res.Total.Requests
	}
	aborted := int64(0)
	for phase, n := range res.Total.Aborted {
		aborted += n
		if res.Aborted[phase] > n {
			t.Errorf("%d aborted %s in the measured part, %d in all", res.Aborted[phase], phase, n)
		}
	}
	if cfg.Request == "" {
		succeeded -= res.Total.Aborted[abortNames[abortShaken]]
	}
	want(t, "connections that ended", succeeded+res.Total.Errors+res.Total.Canceled+aborted, res.Total.Begun)
	if res.Held > res.Handshakes || res.HeldEndedByServer > res.Held {
		t.Errorf("of %d handshakes %d were held; the server ended %d", res.Handshakes, res.Held, res.HeldEndedByServer)
	}
	if res.Stopped == "" { // a run that was cut short may lose the end of its series
		inSeries := int64(0)
		for _, p := range res.Series {
			inSeries += p.Handshakes + p.Errors
		}
		want(t, "connections in the series", inSeries+aborted, res.Total.Begun-res.Total.Probes)
	}
}

// wantSame checks that the servers have counted the same as the run.
func wantSame(t testing.TB, res *Result, servers ...*server) {
	t.Helper()
	requests := res.Total.Requests + res.Total.Aborted[abortNames[abortAsked]]
	var sum Total
	// The last of them may still be on its way through the server.
	testkit.Eventually(t, "the servers see all connections", func() bool {
		sum = Total{}
		for _, s := range servers {
			sum.Begun += s.accepted.Load()
			sum.Handshakes += s.handshakes.Load()
			sum.Resumed += s.resumed.Load()
			sum.Requests += s.requests.Load()
		}
		return sum.Begun >= res.Total.Begun && sum.Handshakes >= res.Total.Handshakes && sum.Requests >= requests
	})
	want(t, "begun, as the server counts", sum.Begun, res.Total.Begun)
	want(t, "handshakes, as the server counts", sum.Handshakes, res.Total.Handshakes)
	want(t, "resumed, as the server counts", sum.Resumed, res.Total.Resumed)
	want(t, "requests, as the server counts", sum.Requests, requests)
}
