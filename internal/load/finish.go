package load

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"
)

// result makes the Result from the measurements.
func (r *run) result(m *measured) *Result {
	rec, s := m.rec, m.stage
	took := r.duration(m)
	res := &Result{
		Schema:        Schema,
		Handshakes:    rec.handshakes,
		Errors:        rec.errors,
		Duration:      took.Seconds(),
		ErrorsByKind:  rec.kinds,
		ErrorExamples: rec.examples,
		NotBegun:      rec.notBegun,
		BytesRead:     rec.read,
		BytesWritten:  rec.written,
		Negotiated:    []Negotiated{},
		Certificates:  []Certificate{},
		MaxInFlight:   m.most,
		Series:        r.series.result(s.start),
		Sweep:         m.sweep,
		Total:         r.total,
		Stopped:       r.why,
		Warnings:      slices.Clone(r.warnings),
		Settings:      Settings{Flags: map[string]string{}},
		Started:       r.begin,
		MeasuredFrom:  s.start,
		Environment:   environment(),
	}
	if took > 0 {
		res.HandshakesPer = float64(rec.inTime) / took.Seconds()
	}
	rec.describe(res, s.rate > 0)
	res.Aborted = rec.aborted.byName()
	res.Held = rec.held
	_, maxRSS := cpuTime()
	res.Client = Client{CPU: m.client.cpu.Seconds(), Busy: m.client.busy(len(r.workers)), Loops: len(r.workers), MaxRSS: maxRSS}
	if rec.inTime > 0 {
		res.Client.CPUPerHandshake = float64(m.client.cpu.Nanoseconds()) / 1e3 / float64(rec.inTime)
	}
	for i, t := range rec.targets {
		res.Targets = append(res.Targets, Target{
			Target: r.workers[0].targets[i].target, Address: r.workers[0].targets[i].String(),
			Handshakes: t.handshakes, Errors: t.errors,
			Latency: percentiles(rec.latencyOf(i)), Histogram: encode(rec.latencyOf(i)),
		})
	}
	res.negotiated(rec)
	res.warn(r, m)
	return res
}

// duration returns the length of the measured part.
func (r *run) duration(m *measured) time.Duration {
	end := m.stage.end
	switch {
	case m.stage.count > 0:
		if end = m.rec.last; end.IsZero() {
			end = m.ended
		}
	case r.stopping.Load() && m.ended.Before(end):
		end = m.ended
	}
	return max(end.Sub(m.stage.start), 0)
}

// negotiated lists what was negotiated and which certificates servers sent, the most
// frequent first.
func (res *Result) negotiated(rec *recorder) {
	for _, k := range slices.Collect(maps.Keys(rec.negotiated)) {
		n := Negotiated{
			Version: tls.VersionName(k.version), Cipher: tls.CipherSuiteName(k.cipher),
			ALPN: k.alpn, Resumed: k.resumed, Handshakes: rec.negotiated[k],
		}
		if k.curve != 0 {
			n.Curve = CurveName(tls.CurveID(k.curve))
		}
		res.Negotiated = append(res.Negotiated, n)
	}
	for c, n := range rec.certificates { // each loop has its own entries
		res.Certificates = append(res.Certificates, c.describe(n))
	}
	res.sortNegotiated()
}

// sortNegotiated adds up what has several entries, and sorts by frequency.
func (res *Result) sortNegotiated() {
	agreed := make(map[Negotiated]int64) // the keys count no handshakes
	for _, n := range res.Negotiated {
		k := n
		k.Handshakes = 0
		agreed[k] += n.Handshakes
	}
	res.Negotiated = []Negotiated{}
	for k, n := range agreed {
		k.Handshakes = n
		res.Negotiated = append(res.Negotiated, k)
	}
	slices.SortFunc(res.Negotiated, func(a, b Negotiated) int {
		return cmp.Or(cmp.Compare(b.Handshakes, a.Handshakes), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	shown := make(map[string]Certificate)
	for _, c := range res.Certificates {
		c.Handshakes += shown[c.SHA256].Handshakes
		shown[c.SHA256] = c
	}
	res.Certificates = slices.AppendSeq([]Certificate{}, maps.Values(shown))
	slices.SortFunc(res.Certificates, func(a, b Certificate) int {
		return cmp.Or(cmp.Compare(b.Handshakes, a.Handshakes), cmp.Compare(a.SHA256, b.SHA256))
	})
}

// warn adds warnings: what makes the figures doubtful, and what to do about it.
func (res *Result) warn(r *run, m *measured) {
	warn := func(format string, args ...any) { res.Warnings = append(res.Warnings, fmt.Sprintf(format, args...)) }
	c := r.cfg
	if res.Client.Busy >= BusyLimit {
		remedy := "Use another machine."
		if 2*res.Client.Loops <= runtime.NumCPU() {
			remedy = fmt.Sprintf("Give it more threads (--loops %d), or another machine.", 2*res.Client.Loops)
		}
		warn("the client was busy for %.0f %% of the time: it, and not the server, may be the limit. %s", 100*res.Client.Busy, remedy)
	}
	if d := res.StartDelay; d != nil && d.P99 > 10_000 && !m.rec.full {
		warn("1 %% of handshakes began %v late or more, because the client's thread was busy or had to wait. Latencies include this delay.",
			(time.Duration(d.P99) * time.Microsecond).Round(time.Millisecond))
	}
	if m.rec.full {
		includes := ""
		if res.Handshakes > 0 {
			includes = " Latencies include this delay."
		}
		warn("all %d connections were in use at times, so handshakes began late.%s Use --connections to allow more.", c.Connections, includes)
	}
	if c.Rate > 0 && c.Sweep == nil && c.Count == 0 && r.why == "" && !keptUp(m.rec.inTime, r.due(m, c.Rate, res.Duration), res.Duration) {
		warn("%s handshakes a second were done, but %s were due: the server, or whatever other warnings name, did not keep up.", rateText(res.HandshakesPer), rateText(r.due(m, c.Rate, res.Duration)))
		if res.Handshakes == 0 && m.rec.inTime > 0 {
			warn("what was due in the ramp and the warm-up was already too much: the %d handshakes that ended in the measured part were all due before it. Use a lower --rate.", m.rec.inTime)
		}
	}
	if n := r.kinds[kindPorts]; n > 0 {
		warn("%d connections found no free local port: closed connections keep theirs in TIME_WAIT for a minute. Use --reset, several --source addresses, or a wider range of ports (sysctl net.ipv4.ip_local_port_range).", n)
	}
	if r.kinds[kindDescriptors] > 0 {
		warn("there were no file descriptors left (they allow %d connections): raise the limit (ulimit -n) or lower --connections.", MaxConnections())
	}
	if oldest := res.Total.OldestCanceled; oldest > max(res.Latency.Max, 1_000_000) {
		warn("%d connections were cut off when the run was stopped, the oldest after %v. No figure includes them.",
			res.Total.Canceled, (time.Duration(oldest) * time.Microsecond).Round(time.Millisecond))
	}
	resumed := int64(0)
	for _, n := range res.Negotiated {
		if n.Resumed {
			resumed += n.Handshakes
		}
	}
	if n := m.rec.offered - resumed; n > m.rec.offered/50 {
		warn("the server declined to resume %d of %d sessions.", n, m.rec.offered)
	}
}
