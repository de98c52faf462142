package report

import (
	"fmt"
	"math"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes up results with plausible shapes. They are the same each time.

// result is a run of ten seconds with about the given rate and median latency.
func result(rate float64, median int64) *load.Result {
	us := func(f float64) int64 { return int64(f * float64(median)) }
	n := int64(rate * 10)
	latency := load.Percentiles{Count: n, Min: us(.3), P50: median, P90: us(1.6), P99: us(3.9), P999: us(12), Max: us(31), Mean: us(1.1)}
	part := func(f float64) load.Percentiles {
		p := latency
		for _, v := range []*int64{&p.Min, &p.P50, &p.P90, &p.P99, &p.P999, &p.Max, &p.Mean} {
			*v = int64(float64(*v) * f)
		}
		return p
	}
	r := &load.Result{
		Handshakes: n, HandshakesPer: rate, Duration: 10, Latency: latency,
		Phases:    load.Phases{Connect: part(.04), TLS: part(.96)},
		BytesRead: n * 2180, BytesWritten: n * 620,
		Negotiated:   []load.Negotiated{{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", Handshakes: n}},
		Certificates: []load.Certificate{{SHA256: "3f1c0b7a5d9e4c2288aa10ff0e6b7c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b", Subject: "CN=demo.example", Key: "RSA 2048", Handshakes: n}},
		Targets:      []load.Target{{Target: "server.example:8443", Address: "192.0.2.7:8443", Handshakes: n}},
		MaxInFlight:  64,
		Client:       load.Client{CPU: 4.1, CPUPerHandshake: 4.1e6 / float64(max(n, 1)), Busy: .41, Loops: 1, MaxRSS: 23 << 20},
		Total:        load.Total{Begun: n + 1201, Handshakes: n + 1200, Probes: 1, Canceled: 1},
		Settings:     load.Settings{Command: "tlsdemo load --duration 10s server.example:8443", Flags: map[string]string{"connections": "64", "duration": "10s", "tls": "1.3", "curve": "X25519", "resume": "none"}},
		Environment:  load.Environment{OS: "linux", Arch: "amd64", Go: "go1.26.0", CPU: "Example CPU @ 2.00GHz", Cores: 2, Kernel: "Linux 6.12.0", Host: "client.example", Version: "v1.2.3, commit 0123456789ab, go1.26.0, linux/amd64"},
		Started:      time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	for i := -10; i < 100; i++ {
		wave := 1 + .06*math.Sin(float64(i)*1.7) + .03*math.Sin(float64(i)*.37)
		r.Series = append(r.Series, load.Point{At: float64(i) / 10, Length: .1, Handshakes: int64(rate / 10 * wave), InFlight: 64 - i*i%3,
			P50: us(1 / wave), P99: us(3.9 / wave / wave), Max: us(5 + 20*math.Pow(math.Sin(float64(i)*.9), 8))})
	}
	for _, p := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100} {
		x := min(nines(p), 5)
		r.Distribution = append(r.Distribution, load.Quantile{Percentile: p, Latency: us(.3 + 1.1*math.Pow(x, 1.6))})
	}
	return r
}

// failing is a run that was cut short, with warnings and errors of several kinds.
func failing() *load.Result {
	r := result(900, 88_000)
	r.Errors, r.NotBegun = 2310, 310
	r.ErrorsByKind = map[string]int64{"timeout": 1200, "refused": 600, "not begun": 310, "gave up": 200}
	r.ErrorExamples = map[string]string{"timeout": "server.example:8443: no server hello within 10s", "refused": "dial tcp 192.0.2.7:8443: connect: connection refused"}
	delay := r.Phases.Connect
	r.StartDelay = &delay
	r.GaveUpAfter, r.Total.GaveUp = &load.Percentiles{Count: 200, Min: 500_000, P50: 750_000, P90: 950_000, P99: 990_000, P999: 999_000, Max: 1_000_000, Mean: 750_000}, 221
	r.Client.Busy = .97
	r.Stopped = "too many errors"
	r.Warnings = []string{"the client was busy for 97 % of the time: it, and not the server, may be the limit", "310 handshakes were due and never begun: --connections is too low"}
	for i := range r.Series {
		r.Series[i].Errors = int64(i % 7)
		if i > 60 && i < 70 {
			r.Series[i] = load.Point{At: r.Series[i].At, Length: .1, Errors: 40}
		}
	}
	return r
}

// swept is a sweep with a knee of 4000/s and two steps after its best one.
func swept() *load.Result {
	r := result(4000, 2100)
	r.Settings.Flags["rate"] = "500"
	r.Sweep = &load.Sweep{Knee: 4000, Limit: "p99 rose above 1 s"}
	var others []load.Point
	for i := -25; i < -1; i++ {
		p := r.Series[50]
		p.At, p.Length, p.Handshakes = float64(i), 1, 500*int64(1+(i+25)/6)
		others = append(others, p)
	}
	r.Series = append(others, r.Series...)
	for i := range 100 {
		p := r.Series[50]
		p.At, p.Handshakes, p.P99, p.Max = 10+float64(i)/10, 405, 40_000+int64(i)*200, 90_000
		r.Series = append(r.Series, p)
	}
	for i, rate := range []float64{500, 1000, 2000, 3000, 4000, 4500, 5000} {
		s := load.Step{Rate: rate, HandshakesPer: rate * .999, Handshakes: int64(rate * 5), Latency: r.Latency, ClientBusy: rate / 9000, KeptUp: true}
		s.Latency.P99 = int64(1500 * math.Exp(float64(i)*.7))
		if rate > 4000 {
			s.HandshakesPer, s.KeptUp, s.Why, s.Errors = 4050, false, fmt.Sprintf("p99 %d ms", s.Latency.P99/1000), 17
		}
		r.Sweep.Steps = append(r.Sweep.Steps, s)
	}
	return r
}

// empty is a run in which nothing succeeded.
func empty() *load.Result {
	return &load.Result{Errors: 3, Duration: 10, ErrorsByKind: map[string]int64{"refused": 3}, Targets: []load.Target{{Target: "server.example:8443", Errors: 3}}}
}

// ending is a run of an open loop that waits for connections at its end.
func ending() *load.Result {
	r := result(400, 3000)
	r.Settings.Flags["rate"] = "400"
	delay := r.Phases.Connect
	r.StartDelay = &delay
	for i := range 20 {
		r.Series = append(r.Series, load.Point{At: 10 + float64(i)/10, Length: .1, Handshakes: int64(20 - i), InFlight: 60 - 3*i, P50: 900_000, P99: 2_000_000, Max: 2_000_000})
	}
	return r
}

// markup must not become part of the page.
const markup = `<script>alert("1")</script><img src=x onerror='alert(2)'>&lt;b&gt;</style>]]>`

// hostile is a run with markup in every text of its result.
func hostile() *load.Result {
	r := failing()
	sweep := swept().Sweep
	sweep.Limit, sweep.Steps[6].Why = markup, markup
	r.Sweep = sweep
	r.Stopped, r.Warnings = markup, []string{markup}
	r.ErrorsByKind[markup], r.ErrorExamples[markup] = 7, markup
	r.Negotiated = []load.Negotiated{{Version: markup, Cipher: markup, Curve: markup, ALPN: markup, Handshakes: 1}}
	r.Certificates = []load.Certificate{{SHA256: markup, Subject: markup, Key: markup, Handshakes: 1}}
	r.Targets = []load.Target{{Target: markup, Address: markup}}
	r.Settings = load.Settings{Command: markup, Flags: map[string]string{markup: markup}}
	r.Environment = load.Environment{OS: markup, Arch: markup, Go: markup, CPU: markup, Host: markup, Commit: markup, Version: markup}
	return r
}
