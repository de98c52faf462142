package load

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A sweep multiplies the rate by sweepFactor until the server does not keep up. The
// knee then lies between the last two rates. The sweep looks for it by halving this
// interval sweepHalvings times.
const (
	sweepFactor   = 1.5
	sweepHalvings = 3
	maxSweepSteps = 60

	sweepWarmup     = 500 * time.Millisecond // of each step
	sweepThroughput = 0.98                   // share of the rate that must be done
	sweepFailures   = 0.01                   // share of handshakes that may fail
)

// search looks for the knee. It chooses the rate of each step from the result of the
// step before.
type search struct {
	max      float64 // 0: none
	kept     float64 // the highest rate that the server kept up with; 0: none yet
	broken   float64 // the lowest rate that it did not keep up with; 0: none yet
	halvings int
}

// next returns the rate of the next step. It returns 0 if the search has ended.
func (s *search) next(rate float64, keptUp bool) float64 {
	if keptUp {
		s.kept = rate
	} else {
		s.broken = rate
	}
	switch {
	case s.broken == 0 && rate == s.max, s.kept == 0, s.halvings == sweepHalvings:
		return 0
	case s.broken == 0 && s.max > 0:
		return min(rate*sweepFactor, s.max)
	case s.broken == 0:
		return rate * sweepFactor
	}
	s.halvings++
	return (s.kept + s.broken) / 2
}

// sweep runs a stage for each rate. It returns the measurements of the best one.
func (r *run) sweep(ctx context.Context) *measured {
	sweep, search := &Sweep{Steps: []Step{}}, search{max: r.cfg.Sweep.Max}
	var best, last *measured
	rate := r.cfg.Rate
	for range maxSweepSteps {
		last = r.runStage(ctx, r.newStage(rate, 0, max(r.cfg.Warmup, sweepWarmup)))
		if r.stopping.Load() {
			break
		}
		step := r.step(rate, last)
		sweep.Steps = append(sweep.Steps, step)
		if step.KeptUp {
			best, sweep.Knee = last, rate
		} else {
			sweep.Limit = step.Why
		}
		if rate = search.next(rate, step.KeptUp); rate == 0 {
			break
		}
	}
	if best == nil {
		best = last
	}
	best.sweep = sweep
	return best
}

// due returns how many handshakes a second were due in the measured part of an open
// loop, which took so many seconds, without those that clients aborted. At random, there
// may be more or fewer than the rate.
func (r *run) due(m *measured, rate, seconds float64) float64 {
	if !r.cfg.Poisson {
		return rate - float64(m.rec.aborted.sum())/seconds
	}
	return float64(m.rec.handshakes+m.rec.errors) / seconds
}

// keptUp reports whether enough handshakes ended in so many seconds. Where one more or less
// would decide, as with very low rates, it is in the server's favour.
func keptUp(inTime int64, rate, seconds float64) bool {
	return float64(inTime) >= sweepThroughput*math.Floor(rate*seconds)
}

// rateText formats a number per second.
func rateText(perSecond float64) string {
	if perSecond >= 100 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.3g", perSecond)
}

// step judges a step of a sweep.
func (r *run) step(rate float64, m *measured) Step {
	took := m.stage.end.Sub(m.stage.start)
	s := Step{
		Rate:          rate,
		HandshakesPer: float64(m.rec.inTime) / took.Seconds(),
		Handshakes:    m.rec.handshakes,
		Errors:        m.rec.errors,
		ErrorsByKind:  m.rec.kinds,
		Latency:       percentiles(m.rec.latency),
		Histogram:     encode(m.rec.latency),
		ClientBusy:    m.client.busy(len(r.workers)),
	}
	failed := float64(s.Errors) / float64(max(s.Handshakes+s.Errors, 1))
	due := r.due(m, rate, took.Seconds())
	p99 := time.Duration(s.Latency.P99) * time.Microsecond
	switch {
	case failed > sweepFailures:
		s.Why = fmt.Sprintf("%.1f %% failed (%s)", 100*failed, SortedKinds(s.ErrorsByKind)[0])
	case !keptUp(m.rec.inTime, due, took.Seconds()):
		s.Why = fmt.Sprintf("%.0f %% of the rate", 100*s.HandshakesPer/due)
	case p99 > r.cfg.Sweep.P99:
		s.Why = fmt.Sprintf("p99 was %v", p99.Round(time.Millisecond))
	default:
		s.KeptUp = true
	}
	if !s.KeptUp && s.ClientBusy >= BusyLimit {
		s.Why += ", and the client was busy: it may be the limit"
	}
	return s
}
