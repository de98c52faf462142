//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// This file is a burst: how a server recovers from a short overload. Two clients
// load it. One asks for half of its capacity all the time, and is whose latency
// counts; the other comes for the burst.

// burstTimes are the parts of a burst.
type burstTimes struct {
	warmup, before, burst, after time.Duration
	echoAfter                    time.Duration // how long the echo counts after the burst
}

var (
	usualBurst = burstTimes{2 * time.Second, 10 * time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Second}
	quickBurst = burstTimes{time.Second, 2 * time.Second, time.Second, 4 * time.Second, time.Second}
)

// Of the server's capacity, what clients ask for before and after the burst, and
// in it.
const (
	burstCalm = 0.5
	burstPeak = 5
)

// A server has recovered when p99 is within this factor of what it was before, or
// a millisecond, for so many buckets in a row.
const (
	burstBucket      = 500 * time.Millisecond
	recoveredFactor  = 1.5
	recoveredSlack   = 1000 // microseconds
	recoveredBuckets = 4
)

// burstCell is what was found out with one burst.
type burstCell struct {
	Calm        *loadRound         `json:"calm"`  // the load that is there all the time
	Burst       *load.Result       `json:"burst"` // the rest of the load in the burst
	Patience    string             `json:"patience"`
	Capacity    float64            `json:"capacity_per_s"`
	Before      int64              `json:"p99_before_us"`
	Recovered   *float64           `json:"recovered_after_s,omitempty"` // from the end of the burst; none: not while it was looked at
	LastFailed  float64            `json:"last_failed_after_s"`         // from the end of the burst: the end of the last half second in which clients left; 0: none did
	PeakRSS     int64              `json:"peak_rss_bytes"`
	Echo        *probeResult       `json:"echo,omitempty"` // in the burst
	EchoFailed  string             `json:"echo_failed,omitempty"`
	ServerCount map[string]float64 `json:"server_counts,omitempty"`
}

// measureBurst measures a server with one burst.
func (m *overloadMeasurer) measureBurst(ctx context.Context, c contender, p load.Patience, capacity float64) (*burstCell, error) {
	b := m.burst
	cell := &burstCell{Patience: p.String(), Capacity: capacity}
	return cell, m.with(ctx, c, func(s *server, cert *certificate) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		echo, err := m.startEcho(ctx, s, b.warmup+b.before, b.burst+b.echoAfter)
		if err != nil {
			return err
		}
		struck := make(chan error, 1)
		go func() {
			err := bench.Sleep(ctx, b.warmup+b.before)
			if err == nil {
				cell.Burst, err = m.load(ctx, m.program, m.clientArgs(s, 0, b.burst, openArgs((burstPeak-burstCalm)*capacity, p)...)...)
			}
			if err != nil {
				cancel(err)
			}
			struck <- err
		}()
		calm, err := m.loadAndWatch(ctx, m.program, s, m.clientArgs(s, b.warmup, b.before+b.burst+b.after, openArgs(burstCalm*capacity, p)...)...)
		if err != nil {
			cancel(err)
		}
		if err := errors.Join(err, <-struck); err != nil {
			echo.kill()
			return err
		}
		cell.Calm = calm
		cell.Echo, cell.EchoFailed = echo.result()
		if cell.PeakRSS, err = bench.PeakRSS(s.pid()); err != nil {
			return err
		}
		cell.ServerCount = serverCountsNow(ctx, s)
		start, _ := measuredPart(calm.Load)
		from, until := measuredPart(cell.Burst)
		cell.recover(from.Sub(start).Seconds(), until.Sub(start).Seconds())
		calm.Load.Distribution, cell.Burst.Distribution = nil, nil // the series shows how it went
		return errors.Join(m.same.check(s.name, m.what(), calm.Load, cert), m.same.check(s.name, m.what(), cell.Burst, cert))
	})
}

// recover finds out when nobody left any more, and when the latency was what it
// had been before the burst. Times are in seconds, as those of the series.
func (c *burstCell) recover(from, until float64) {
	buckets := bucketsOf(c.Calm.Load.Series, c.Calm.Load.Duration)
	for _, b := range buckets {
		if end := b.at + burstBucket.Seconds(); b.errors > 0 && end > until {
			c.LastFailed = end - until
		}
	}
	var before []int64
	for _, b := range buckets {
		if b.at >= 0 && b.at+burstBucket.Seconds() <= from && b.handshakes > 0 {
			before = append(before, b.p99)
		}
	}
	if len(before) == 0 {
		return
	}
	slices.Sort(before)
	c.Before = before[len(before)/2]
	most := max(int64(recoveredFactor*float64(c.Before)), c.Before+recoveredSlack)
	row := 0
	for _, b := range buckets {
		if b.at+burstBucket.Seconds() <= until {
			continue
		}
		if b.handshakes == 0 || b.errors > 0 || b.p99 > most {
			row = 0
			continue
		}
		if row++; row == recoveredBuckets {
			after := max(b.at-(recoveredBuckets-1)*burstBucket.Seconds()-until, 0)
			c.Recovered = &after
			return
		}
	}
}

// bucket is half a second of a run.
type bucket struct {
	at                 float64
	handshakes, errors int64
	p99                int64
}

// bucketsOf makes buckets of the series of a measured part. A bucket's p99 is the
// greatest of its points', which is no less than its own.
func bucketsOf(series []load.Point, duration float64) []bucket {
	byNumber := make(map[int]*bucket)
	var all []*bucket
	for _, p := range series {
		// Of the last interval, what is left of the clients is no bucket.
		if p.At < 0 || p.At+burstBucket.Seconds() > duration {
			continue
		}
		n := int(math.Floor(p.At/burstBucket.Seconds() + 1e-9))
		b := byNumber[n]
		if b == nil {
			b = &bucket{at: float64(n) * burstBucket.Seconds()}
			byNumber[n], all = b, append(all, b)
		}
		b.handshakes += p.Handshakes
		b.errors += p.Errors
		b.p99 = max(b.p99, p.P99)
	}
	slices.SortFunc(all, func(a, b *bucket) int { return cmp.Compare(a.at, b.at) })
	buckets := make([]bucket, len(all))
	for i, b := range all {
		buckets[i] = *b
	}
	return buckets
}

// recovered is in seconds, or not a number.
func (c *burstCell) recovered() float64 {
	if c.Recovered == nil {
		return math.NaN()
	}
	return *c.Recovered
}

// served is the share of a load's clients that were, in percent.
func served(r *load.Result) float64 {
	return 100 * float64(r.Handshakes) / float64(r.Handshakes+r.Errors)
}
