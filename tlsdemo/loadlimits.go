package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// limits are the thresholds that a result has to meet, such as in a build. Those that
// are nil do not apply.
type limits struct {
	MaxErrors *errorLimit    `placeholder:"N" help:"At most N handshakes may fail, or a share such as 0.1%."`
	MinRate   *float64       `placeholder:"R" help:"The rate must be at least R handshakes a second; in a sweep, the knee."`
	MaxP50    *time.Duration `name:"max-p50" placeholder:"TIME" help:"The median of latency must be at most TIME."`
	MaxP90    *time.Duration `name:"max-p90" placeholder:"TIME" help:"The 90th percentile must be at most TIME."`
	MaxP99    *time.Duration `name:"max-p99" placeholder:"TIME" help:"The 99th percentile must be at most TIME."`
	MaxP999   *time.Duration `name:"max-p999" placeholder:"TIME" help:"The 99.9th percentile must be at most TIME."`
}

type latencyLimit struct {
	flag, name string
	most       *time.Duration
	of         func(*load.Percentiles) int64
}

func (l *limits) latencies() []latencyLimit {
	return []latencyLimit{
		{"--max-p50", "p50", l.MaxP50, func(p *load.Percentiles) int64 { return p.P50 }},
		{"--max-p90", "p90", l.MaxP90, func(p *load.Percentiles) int64 { return p.P90 }},
		{"--max-p99", "p99", l.MaxP99, func(p *load.Percentiles) int64 { return p.P99 }},
		{"--max-p999", "p99.9", l.MaxP999, func(p *load.Percentiles) int64 { return p.P999 }},
	}
}

// validate finds limits that make no sense.
func (l *limits) validate(sweep bool) error {
	if l.MinRate != nil && (!(*l.MinRate > 0) || math.IsInf(*l.MinRate, 1)) {
		return fmt.Errorf("--min-rate: %v is not a rate above 0", *l.MinRate)
	}
	if sweep && l.MaxErrors != nil {
		return errors.New("--max-errors cannot be used with --sweep: a sweep looks for failures")
	}
	for _, m := range l.latencies() {
		switch {
		case m.most == nil:
		case *m.most <= 0:
			return fmt.Errorf("%s: %v is not a time above 0", m.flag, *m.most)
		case sweep:
			return fmt.Errorf("%s cannot be used with --sweep: use --sweep-p99, and --min-rate for the knee", m.flag)
		}
	}
	return nil
}

// check says which limits a result does not meet.
func (l *limits) check(res *load.Result) (unmet []string) {
	fail := func(format string, args ...any) { unmet = append(unmet, fmt.Sprintf(format, args...)) }
	rate, what := res.HandshakesPer, "the rate was"
	if res.Sweep != nil {
		rate, what = res.Sweep.Knee, "the knee is at"
	}
	if all := res.Handshakes + res.Errors; l.MaxErrors != nil && !l.MaxErrors.allows(res.Errors, all) {
		fail("%d of %d handshakes failed (%s), above --max-errors %v", res.Errors, all, countKinds(res.ErrorsByKind), l.MaxErrors)
	}
	if l.MinRate != nil && rate < *l.MinRate {
		fail("%s %.1f/s, below --min-rate %v", what, rate, *l.MinRate)
	}
	for _, m := range l.latencies() {
		got := time.Duration(m.of(&res.Latency)) * time.Microsecond
		switch {
		case m.most == nil:
		case res.Latency.Count == 0:
			fail("there is no %s latency for %s %v", m.name, m.flag, *m.most)
		case got > *m.most:
			fail("%s latency was %v, above %s %v", m.name, got, m.flag, *m.most)
		}
	}
	return unmet
}

// errorLimit is how many handshakes may fail: a number or a share.
type errorLimit struct {
	n     int64
	share load.Share // n is 0 then
}

func (e *errorLimit) UnmarshalText(text []byte) error {
	if bytes.HasSuffix(text, []byte("%")) {
		*e = errorLimit{}
		return e.share.UnmarshalText(text)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is neither a number of errors nor a share such as 0.1%%", text)
	}
	*e = errorLimit{n: n}
	return nil
}

func (e errorLimit) String() string {
	if e.share > 0 {
		return e.share.String()
	}
	return strconv.FormatInt(e.n, 10)
}

// allows reports whether so many errors of all are within the limit.
func (e errorLimit) allows(errors, all int64) bool {
	return errors <= e.n || float64(errors) <= float64(e.share)*float64(all)
}
