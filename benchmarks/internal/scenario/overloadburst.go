//go:build linux

package scenario

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
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
	Calm       *client.Loaded `json:"calm"`  // the load that is there all the time
	Burst      *load.Result   `json:"burst"` // the rest of the load in the burst
	Patience   string         `json:"patience"`
	Capacity   float64        `json:"capacity_per_s"`
	Before     int64          `json:"p99_before_us"`
	Recovered  *float64       `json:"recovered_after_s,omitempty"` // from the end of the burst; none: not while it was looked at
	LastFailed float64        `json:"last_failed_after_s"`         // from the end of the burst: the end of the last half second in which clients left; 0: none did
	aftermath
}

func (c *burstCell) clientLimited() bool { return clientLimited(c.Calm.Load) || clientLimited(c.Burst) }

// measureBurst measures a server with one burst.
func (m *overloadMeasurer) measureBurst(ctx context.Context, p peer.Peer, patience load.Times, capacity float64) (*burstCell, error) {
	b := m.burst
	cell := &burstCell{Patience: patience.String(), Capacity: capacity}
	return cell, m.with(ctx, p, func(s *peer.Server) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		echo, err := m.startProbe(ctx, s, b.warmup+b.before, b.burst+b.echoAfter)
		if err != nil {
			return err
		}
		struck := make(chan error, 1)
		go func() {
			err := process.Sleep(ctx, b.warmup+b.before)
			if err == nil {
				cell.Burst, err = m.run.client.Run(ctx, m.clientArgs(s, 0, b.burst, openArgs((burstPeak-burstCalm)*capacity, patience)...)...)
			}
			if err != nil {
				cancel(err)
			}
			struck <- err
		}()
		calm, err := m.run.client.RunWatched(ctx, s.Watch(), m.clientArgs(s, b.warmup, b.before+b.burst+b.after, openArgs(burstCalm*capacity, patience)...)...)
		if err != nil {
			cancel(err)
		}
		if err := errors.Join(err, <-struck); err != nil {
			echo.Kill()
			return err
		}
		cell.Calm = calm
		if err := cell.take(ctx, s, echo); err != nil {
			return err
		}
		start, _ := client.MeasuredPart(calm.Load)
		from, until := client.MeasuredPart(cell.Burst)
		cell.recover(from.Sub(start).Seconds(), until.Sub(start).Seconds())
		calm.Load.Distribution, cell.Burst.Distribution = nil, nil // the series shows how it went
		kind := client.Full(m.Key)
		return errors.Join(m.run.check(s, kind, calm.Load), m.run.check(s, kind, cell.Burst))
	})
}

// recover finds out when nobody left any more, and when the latency was what it
// had been before the burst. Times are in seconds, as those of the series.
func (c *burstCell) recover(from, until float64) {
	buckets := bucketsOf(c.Calm.Load.Series, c.Calm.Load.Duration)
	var before []int64
	for _, b := range buckets {
		if b.errors > 0 && b.end() > until {
			c.LastFailed = b.end() - until
		}
		if b.end() <= from && b.handshakes > 0 {
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
		switch {
		case b.end() <= until:
			continue
		case b.handshakes == 0 || b.errors > 0 || b.p99 > most:
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

func (b bucket) end() float64 { return b.at + burstBucket.Seconds() }

// bucketsOf makes buckets of the series of a measured part, which is in order. A
// bucket's p99 is the greatest of its points', which is no less than its own.
func bucketsOf(series []load.Point, duration float64) (all []bucket) {
	for _, p := range series {
		// Of the last interval, what is left of the clients is no bucket.
		if p.At < 0 || p.At+burstBucket.Seconds() > duration {
			continue
		}
		at := math.Floor(p.At/burstBucket.Seconds()+1e-9) * burstBucket.Seconds()
		if len(all) == 0 || all[len(all)-1].at != at {
			all = append(all, bucket{at: at})
		}
		b := &all[len(all)-1]
		b.handshakes += p.Handshakes
		b.errors += p.Errors
		b.p99 = max(b.p99, p.P99)
	}
	return all
}

// recovered is in seconds, or not a number.
func (c *burstCell) recovered() float64 {
	if c.Recovered == nil {
		return math.NaN()
	}
	return *c.Recovered
}
